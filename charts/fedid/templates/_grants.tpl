{{- /*
What each kind asks the grants of its Federation for, as domain/grants.py and its callers say it. One entry is one field of a
grant; to judge another, add an entry here and a row to tests/chart/grant_cases.py.

  there    whether an object of the kind has anything that is judged; OBJ stands for the object
  asked    CEL: the asks of OBJ, a list of texts
  covered  CEL: whether the rule `r` covers the ask `a`; LIST stands for the field of the rule
  shown    CEL: the ask `a` as a person writes it; left out: `a`
*/ -}}
{{- define "fedid.grants.kinds" -}}
BotClient:
  resource: botclients
  short: bots # in names of objects
  there: "true"
  asks:
  - grant: realmRoles
    asked: OBJ.spec.?realmRoles.orValue([])
    covered: {{ include "fedid.grants.listed" . | toRawJson }}
  - grant: clientRoles
    asked: {{ include "fedid.grants.rolesOfClients" . | toRawJson }}
    covered: {{ include "fedid.grants.listedRole" . | toRawJson }}
    shown: a.replace(' ', '/', 1)
  - grant: audiences
    asked: OBJ.spec.?audiences.orValue([])
    covered: {{ include "fedid.grants.listedClient" . | toRawJson }}
  - grant: scopes
    asked: >-
      OBJ.spec.?defaultScopes.orValue([]) + OBJ.spec.?optionalScopes.orValue([])
      + OBJ.spec.?tokens.orValue([]).map(t, t.?scopes.orValue([]).join(' ')).join(' ').split(' ').filter(a, a != '')
    covered: {{ include "fedid.grants.listed" . | toRawJson }}
  - grant: claims
    asked: OBJ.spec.?claims.orValue({}).map(c, c)
    covered: {{ include "fedid.grants.listed" . | toRawJson }}
  - grant: clientIds
    asked: >-
      OBJ.spec.?clientId.orValue(variables.defaultId) == variables.defaultId ? [] : [OBJ.spec.clientId]
    covered: {{ include "fedid.grants.listedClient" . | toRawJson }}
  - grant: vaultPaths
    asked: >-
      OBJ.spec.?tokens.orValue([]).filter(t, has(t.vaultPath)).map(t, t.?vaultMount.orValue(
      params.spec.vault.?mount.orValue('secret')) + '/' + t.vaultPath.replace('{namespace}', variables.here)
      .replace('{name}', OBJ.metadata.name).replace('{clientId}', OBJ.spec.?clientId.orValue(variables.defaultId))
      .replace('{token}', t.name))
    covered: >-
      LIST.map(p, p.replace('{namespace}', variables.here)).exists(p, p == a
      || (p.endsWith('*') && a.startsWith(p.substring(0, p.size() - 1))))
  - grant: adopt
    asked: "OBJ.spec.?adopt.orValue(false) ? ['true'] : []"
    covered: r.?adopt.orValue(false)
  - grant: retain
    asked: "OBJ.spec.?deletionPolicy.orValue('') == 'Retain' ? ['true'] : []"
    covered: r.?retain.orValue(false)
  # A limit: the widest that any rule sets, none where none does.
  - grant: maxTokenLifetime
    asked: OBJ.spec.?tokens.orValue([]).filter(t, has(t.lifetime)).map(t, t.lifetime)
    covered: >-
      !variables.rules.exists(one, has(one.maxTokenLifetime))
      || (has(r.maxTokenLifetime) && duration(a) <= duration(r.maxTokenLifetime))
FederationUser:
  resource: federationusers
  short: users # in names of objects
  there: "true"
  asks:
  - grant: realmRoles
    asked: OBJ.spec.?realmRoles.orValue([])
    covered: {{ include "fedid.grants.listed" . | toRawJson }}
  - grant: clientRoles
    asked: {{ include "fedid.grants.rolesOfClients" . | toRawJson }}
    covered: {{ include "fedid.grants.listedRole" . | toRawJson }}
    shown: a.replace(' ', '/', 1)
  # Whoever sets the owner mark of a user has the user: no rule covers an attribute of fedid's own.
  - grant: attributes
    asked: OBJ.spec.?attributes.orValue({}).map(n, n)
    covered: {{ printf "!a.lowerAscii().startsWith('fedid.') && %s" (include "fedid.grants.listed" .) | toRawJson }}
  - grant: identityProviders
    asked: OBJ.spec.?identityProviderLinks.orValue([]).map(l, l.identityProvider)
    covered: {{ include "fedid.grants.listed" . | toRawJson }}
  - grant: emailVerified
    asked: "OBJ.spec.?emailVerified.orValue(false) ? ['true'] : []"
    covered: r.?emailVerified.orValue(false)
  - grant: adopt
    asked: "OBJ.spec.?adopt.orValue(false) ? ['true'] : []"
    covered: r.?adopt.orValue(false)
  - grant: retain
    asked: "OBJ.spec.?deletionPolicy.orValue('') == 'Retain' ? ['true'] : []"
    covered: r.?retain.orValue(false)
  - grant: groups
    asked: OBJ.spec.?groups.orValue([])
    covered: >-
      !(a.startsWith('/') ? a.substring(1) : a).split('/').exists(part, part in ['', '.', '..'])
      && {{ include "fedid.grants.listed" . }}
# What the platform of a server asks for by itself, and what a client's PodIdentity asks of the Federation of its bot,
# are left to the operator.
PodIdentity:
  resource: podidentities
  short: podids # in names of objects
  there: OBJ.spec.role == 'server' && has(OBJ.spec.oidcClient)
  asks:
  - grant: oidcFlows
    asked: OBJ.spec.?oidcClient.?flows.orValue([])
    covered: a in LIST
  - grant: redirectUriPrefixes
    asked: >-
      OBJ.spec.?oidcClient.?redirectUris.orValue([]) + OBJ.spec.?oidcClient.?postLogoutRedirectUris.orValue([])
    covered: {{ include "fedid.grants.below" . | toRawJson }}
  - grant: scopes
    asked: >-
      OBJ.spec.?oidcClient.?defaultScopes.orValue([]) + OBJ.spec.?oidcClient.?optionalScopes.orValue([])
    covered: {{ include "fedid.grants.listed" . | toRawJson }}
  - grant: audiences
    asked: OBJ.spec.?oidcClient.?audiences.orValue([])
    covered: {{ include "fedid.grants.listedClient" . | toRawJson }}
  - grant: clientIds
    asked: >-
      OBJ.spec.?oidcClient.?clientId.orValue(variables.defaultId + '.server') == variables.defaultId + '.server' ? []
      : [OBJ.spec.oidcClient.clientId]
    covered: {{ include "fedid.grants.listedClient" . | toRawJson }}
{{- end -}}

{{- /* As `<client id> <role>`: no client id holds a blank, no name of a role a line break. */ -}}
{{- define "fedid.grants.rolesOfClients" -}}
OBJ.spec.?clientRoles.orValue({}).map(c, OBJ.spec.clientRoles[c].map(role, c + ' ' + role).join('\n')).join('\n')
.split('\n').filter(a, a != '')
{{- end -}}

{{- define "fedid.grants.listedRole" -}}
r.?clientRoles[?a.split(' ')[0]].orValue([]).exists(p, p == a.substring(a.indexOf(' ') + 1) || (p.endsWith('*')
&& !({{ include "fedid.grants.reserved" "a.split(' ')[0]" }})
&& a.substring(a.indexOf(' ') + 1).startsWith(p.substring(0, p.size() - 1))))
{{- end -}}

{{- /* An entry is the ask in full, or its beginning with one `*` at the end. */ -}}
{{- define "fedid.grants.listed" -}}
LIST.exists(p, p == a || (p.endsWith('*') && a.startsWith(p.substring(0, p.size() - 1))))
{{- end -}}

{{- /* The same for ids of clients: Keycloak's own are never meant by a `*`. */ -}}
{{- define "fedid.grants.listedClient" -}}
LIST.exists(p, p == a || (p.endsWith('*') && !({{ include "fedid.grants.reserved" "a" }}) && a.startsWith(p.substring(0, p.size() - 1))))
{{- end -}}

{{- define "fedid.grants.reserved" -}}
{{ . }} in ['account', 'account-console', 'admin-cli', 'broker', 'realm-management', 'security-admin-console'] || {{ . }}.endsWith('-realm')
{{- end -}}

{{- /* An entry is an address that the ask is, or lies below: see domain/web_address.py. */ -}}
{{- define "fedid.grants.below" -}}
{{ include "fedid.grants.isAddress" "a" }}
&& LIST.map(p, p.replace('{namespace}', variables.here)).map(p, p.endsWith('/*') ? p.substring(0, p.size() - 1) : p)
.filter(p, {{ include "fedid.grants.isAddress" "p" }}).map(p, {{ include "fedid.grants.withoutPort" "p" }})
.map(p, p.endsWith('/') ? p.substring(0, p.size() - 1) : p)
.exists(p, p == {{ include "fedid.grants.withoutPort" "a" }} || {{ include "fedid.grants.withoutPort" "a" }}.startsWith(p + '/'))
{{- end -}}

{{- define "fedid.grants.isAddress" -}}
({{ . }}.matches("^(https://[a-z0-9]([a-z0-9-]*[a-z0-9])?([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)*|http://(localhost|127[.]0[.]0[.]1))(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5]))?(/[A-Za-z0-9._~!$&'()+,;=:-]+)*/?$") && !{{ . }}.matches('/[.][.]?(/|$)'))
{{- end -}}

{{- /* Without a port that its scheme has anyway. */ -}}
{{- define "fedid.grants.withoutPort" -}}
({{ . }}.matches('^https://[^/]*:443(/|$)') ? {{ . }}.replace(':443', '', 1) : {{ . }}.matches('^http://[^/]*:80(/|$)') ? {{ . }}.replace(':80', '', 1) : {{ . }})
{{- end -}}

{{- /* Whether the rule `r` is about the namespace, as everywhere in Kubernetes. */ -}}
{{- define "fedid.grants.matches" -}}
variables.here in r.namespaces.?names.orValue([]) || (has(r.namespaces.selector)
&& r.namespaces.selector.?matchLabels.orValue({}).all(k, k in variables.labels
&& variables.labels[k] == r.namespaces.selector.matchLabels[k])
&& r.namespaces.selector.?matchExpressions.orValue([]).all(e,
e.operator == 'In' ? e.key in variables.labels && variables.labels[e.key] in e.?values.orValue([])
: e.operator == 'NotIn' ? !(e.key in variables.labels && variables.labels[e.key] in e.?values.orValue([]))
: e.operator == 'Exists' ? e.key in variables.labels
: e.operator == 'DoesNotExist' && !(e.key in variables.labels)))
{{- end -}}
