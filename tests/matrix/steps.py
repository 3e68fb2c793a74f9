"""Which requests carry out which step of a plan, and which belong to none: no row is by accident, none is missing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import get_args

from fedid.domain import bot_steps as bot
from fedid.domain import node_plan as node
from fedid.domain import user_steps as user
from tests.matrix.stage import Row

_NODE_KEY = r"secret/(meta)?data/pods/<name>/keys/supernode"
_ENTRY = r"POST secret/(meta)?data/(bots|pods)/<name>"

CARRIED_OUT_BY: Mapping[type, str] = {
    bot.CreateClient: r"POST clients",
    bot.KeepSecret: r"POST clients/<id>/client-secret",
    bot.UpdateClient: r"PUT clients/<id>",
    bot.EndPreviousSecret: r"DELETE clients/<id>/client-secret/rotated",
    bot.RemoveScopes: r"DELETE clients/<id>/default-client-scopes/<id>",
    bot.AddScopes: r"PUT clients/<id>/default-client-scopes/<id>",
    bot.AddRoles: r"POST users/<id>/role-mappings/realm",
    bot.RemoveRoles: r"DELETE users/<id>/role-mappings/realm",
    bot.MintToken: r"POST token|POST revoke",
    bot.PublishSecret: rf"{_ENTRY}/client",
    bot.PublishToken: rf"{_ENTRY}/tokens/[a-z]+",
    bot.DeliverToken: r"POST secrets/users/<id>/[a-z]+/<name>",
    bot.WithdrawCopy: r"DELETE secrets/users/<id>/[a-z]+/<name>",
    bot.WithdrawToken: r"POST revoke|DELETE secret/metadata/bots/<name>/tokens/[a-z]+",
    user.StagePassword: r"POST secret/(meta)?data/users/<name>/initial-password",
    user.CreateUser: r"POST users",
    user.PublishPassword: r"POST secret/data/users/<name>/initial-password",
    user.UpdateUser: r"PUT users/<id>",
    user.EnableUser: r"PUT users/<id>",
    user.EndSessions: r"POST users/<id>/logout",
    user.JoinGroup: r"PUT users/<id>/groups/<id>",
    user.LeaveGroup: r"DELETE users/<id>/groups/<id>",
    user.MapRoles: r"POST users/<id>/role-mappings/realm",
    user.UnmapRoles: r"DELETE users/<id>/role-mappings/realm",
    user.LinkIdentity: r"POST users/<id>/federated-identity/[a-z-]+",
    user.UnlinkIdentity: r"DELETE users/<id>/federated-identity/[a-z-]+",
    node.StageNodeKey: f"POST {_NODE_KEY}",
    node.RegisterNode: r"POST control/register-node",
    node.PublishNodeKey: f"POST {_NODE_KEY}",
    node.UnregisterNodes: r"POST control/unregister-node",
    node.DestroyNodeKeys: f"DELETE {_NODE_KEY}",
}
"""Step to the requests that are its side effects."""

WITHOUT_REQUESTS = frozenset(
    {
        bot.ProveSecret,
        bot.MakeToken,
        bot.EndPreviousToken,
        bot.StageToken,
        bot.PromoteToken,
        node.ProveNode,
        node.ProveNodesEnded,
    }
)
"""Steps in memory, whose effect is what is published after them; and proofs, which nobody keeps."""

AUDITED_AS: Mapping[type, str] = {node.UnregisterNodes: "UnregisterNode"}
"""Steps that the audit tells under another name than their own: it has one line for each node."""

ELSEWHERE: Mapping[type, str] = {
    bot.AdoptClient: "takes over a stranger's client: tests/e2e/test_ownership.py",
    bot.StageKey: "of a bot that signs: tests/reconcile/test_private_keys.py cuts it at each effect",
    bot.PublishKey: "likewise",
    bot.EndKeys: "likewise",
    user.SendActions: "a mail, which nobody can take back: tests/e2e/test_users.py",
}
"""Steps that no life of the matrix contains, and where they are tried."""

AROUND = (
    r"PATCH (botclients|podidentities|federationusers)/<name>(/status)?",
    r"(POST|PUT) secrets(/<name>)?",
    # Teardown is no plan: it goes by what is there.
    r"POST (token|revoke)",
    r"DELETE (clients|users)/<id>",
    r"DELETE secret/metadata/(bots|pods|users)/<name>/.*",
)
"""Side effects that are no step of a plan: finalizers, statuses, mounted Secrets, and the end."""


def unknown_steps() -> set[str]:
    """Return the steps of plans that are neither tried here nor said to be tried elsewhere."""
    every = {*get_args(bot.BotStep), *get_args(user.UserStep), *get_args(node.NodeStep)}
    known = {*CARRIED_OUT_BY, *WITHOUT_REQUESTS, *ELSEWHERE}
    return {step.__name__ for step in every ^ known}


def unforeseen(rows: Iterable[Row]) -> set[str]:
    """Return the side effects that neither a step nor anything around it is known for."""
    patterns = (*CARRIED_OUT_BY.values(), *AROUND)
    return {row.what for row in rows if row.effect and not any(re.fullmatch(one, row.what) for one in patterns)}


def uncovered(rows: Iterable[Row], log: str, names: Iterable[str]) -> set[str]:
    """Return the steps that no row is for, and those that were never carried out at all.

    Args:
        rows: Of every operation.
        log: Of the operator that carried them out; its audit names the steps.
        names: Of the objects.
    """
    taken = steps_taken(log, names)
    effects = [row.what for row in rows if row.effect]
    return {
        step.__name__
        for step, pattern in CARRIED_OUT_BY.items()
        if AUDITED_AS.get(step, step.__name__) not in taken or not any(re.fullmatch(pattern, what) for what in effects)
    }


def steps_taken(log: str, names: Iterable[str]) -> set[str]:
    """Return the steps that the audit tells of these objects."""
    ours, found = set(names), set()
    for line in log.splitlines():
        if '"logger": "fedid.audit"' in line:
            told = json.loads(line)["details"]
            if told["object"].rpartition("/")[2] in ours:
                found.add(told["step"])
    return found
