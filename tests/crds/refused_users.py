"""Mistakes in a FederationUser, and what the API server says to each."""

from tests.crds.manifests import GONE, Row

USER_ROWS: list[Row] = [
    (
        "a FederationUser name is too long for its mark",
        {"metadata.name": "u" * 64},
        "metadata.name",
        "username may be longer",
    ),
    (
        "a user has no username",
        {"spec.username": GONE},
        "spec.username",
        "Required value",
    ),
    (
        "the federationRef of a user is empty",
        {"spec.federationRef": {}},
        "spec.federationRef.name",
        "Required value",
    ),
    (
        "the federationRef of a user names no resource",
        {"spec.federationRef": {"name": "Local Federation"}},
        "spec.federationRef.name",
        "`kubectl get federations`",
    ),
    ("a FederationUser has no spec", {"spec": GONE}, "spec", "Required value"),
    (
        "a username has capitals",
        {"spec.username": "Ana"},
        "spec.username",
        "in lower case, as Keycloak stores it",
    ),
    (
        "a username has a blank",
        {"spec.username": "ana novak"},
        "spec.username",
        "letters a-z, digits",
    ),
    (
        "a username is that of a service account",
        {"spec.username": "service-account-superlink"},
        "spec.username",
        "write a BotClient",
    ),
    (
        "an e-mail address has capitals",
        {"spec.email": "Ana@site-a.example"},
        "spec.email",
        "in lower case, as Keycloak stores it",
    ),
    (
        "an e-mail address has no @",
        {"spec.email": "ana.site-a.example"},
        "spec.email",
        "such as ana@site-a.example",
    ),
    (
        "an e-mail address has a name around it",
        {"spec.email": "ana <ana@site-a.example>"},
        "spec.email",
        "one e-mail address",
    ),
    (
        "an e-mail address has 65 characters before the @",
        {"spec.email": "a" * 65 + "@site-a.example"},
        "spec.email",
        "at most 64 characters before the @",
    ),
    (
        "a first name has markup",
        {"spec.firstName": "<b>Ana</b>"},
        "spec.firstName",
        "Keycloak refuses these characters in names",
    ),
    (
        "a first name begins with a blank",
        {"spec.firstName": " Ana"},
        "spec.firstName",
        "without blanks at its ends",
    ),
    (
        "a last name has a paragraph sign",
        {"spec.lastName": "Novak §"},
        "spec.lastName",
        "Keycloak refuses these characters in names",
    ),
    (
        "a last name has a line break",
        {"spec.lastName": "No\nvak"},
        "spec.lastName",
        "line breaks",
    ),
    (
        "a last name is blank",
        {"spec.lastName": "  "},
        "spec.lastName",
        "without blanks at its ends",
    ),
    (
        "enabled is a word",
        {"spec.enabled": "yes"},
        "spec.enabled",
        "must be of type boolean",
    ),
    (
        "a group lacks its slash",
        {"spec.groups": ["sites/a"]},
        "spec.groups[0]",
        "with a leading slash",
    ),
    (
        "a group climbs out of its path",
        {"spec.groups": ["/sites/../admins"]},
        "spec.groups[0]",
        "full path of one group",
    ),
    (
        "a group is a wildcard",
        {"spec.groups": ["/sites/*"]},
        "spec.groups[0]",
        "`*` is for grants only",
    ),
    (
        "a user asks for a wildcard role",
        {"spec.realmRoles": ["fl-*"]},
        "spec.realmRoles[0]",
        "such as fl-member",
    ),
    (
        "a user is notified nowhere",
        {"spec.notify": True, "spec.email": GONE},
        "spec.notify",
        "set email, or take notify out",
    ),
    (
        "no address is verified",
        {"spec.emailVerified": True, "spec.email": GONE},
        "spec.emailVerified",
        "set email, or take emailVerified out",
    ),
    *(
        (f"an attribute is {name}", {"spec.attributes": {name: ["x"]}}, "spec.attributes", "belongs to the operator")
        for name in ("fedid.owner", "Fedid.Object", "email", "firstName", "LASTNAME", "username", "a b", "*")
    ),
    (
        "an attribute has no value",
        {"spec.attributes": {"site": []}},
        "spec.attributes.site",
        "should have at least 1 items",
    ),
    (
        "a user asks for a wildcard role of a client",
        {"spec.clientRoles": {"superlink": ["*"]}},
        "spec.clientRoles[superlink][0]",
        "`*` is for grants only",
    ),
    (
        "a user asks for roles of many clients",
        {"spec.clientRoles": {"super*": ["submit"]}},
        "spec.clientRoles",
        "write each client id in full",
    ),
    (
        "a link leads to nobody",
        {"spec.identityProviderLinks": [{"identityProvider": "university"}]},
        "spec.identityProviderLinks[0].userId",
        "Required value",
    ),
    (
        "two links lead to one provider",
        {"spec.identityProviderLinks": [{"identityProvider": "u", "userId": one} for one in ("1", "2")]},
        "spec.identityProviderLinks[1]",
        "Duplicate value",
    ),
    (
        "a link has an alias that none can have",
        {"spec.identityProviderLinks": [{"identityProvider": "u/../x", "userId": "1"}]},
        "spec.identityProviderLinks[0].identityProvider",
        "such as university",
    ),
    (
        "a required action is a sentence",
        {"spec.requiredActions": ["change it"]},
        "spec.requiredActions[0]",
        "such as CONFIGURE_TOTP",
    ),
    (
        "an initial password is chosen",
        {"spec.initialPassword": "hunter2"},
        "spec.initialPassword",
        "Unsupported value",
    ),
    (
        "a user expires some day",
        {"spec.expiresAt": "tomorrow"},
        "spec.expiresAt",
        "must be of type date-time",
    ),
    (
        "a user is kept",
        {"spec.deletionPolicy": "Keep"},
        "spec.deletionPolicy",
        "Unsupported value",
    ),
]
