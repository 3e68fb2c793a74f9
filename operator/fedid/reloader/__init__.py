"""The sidecar of `reload: Signal`: a small program beside a server, which tells it that its credential has changed.

It knows nothing of the operator, of Kubernetes' API, of Keycloak or Vault: it sees one mounted Secret and the processes
of its pod, and answers one question over HTTP. Only the standard library, so that it starts at once and stays small.

Source: proc(5), signal(7); kubelet's atomic writer (`..data` is a symbolic link that is swapped).
"""
