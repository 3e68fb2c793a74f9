# The operator's image: Python, the locked wheels, the operator. No shell, compiler or pip is needed when it runs, and no
# pip is left in it. Built by docker, podman or buildah; nothing beyond the plain Dockerfile language is used.
#
#   docker build --tag registry.example.org/fedid:0.2.0 --build-arg VERSION=0.2.0 .
#
# BASE: a Debian-like image with python3 3.11 or later and its venv module.
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
COPY requirements/run.txt /build/run.txt
# Wheels only, those of the lock, each with the hash that it names: nothing that was fetched is executed here. Compiled once, since the
# file system is read-only later; by hash, so that no clock decides what is current. Not the Kubernetes client's models and
# typed calls: the operator loads none of them, and compiled they are 60 MB.
RUN python3 -m venv /build/venv \
 && /build/venv/bin/pip install --quiet --no-cache-dir --no-compile --disable-pip-version-check \
      --only-binary=:all: --no-deps --require-hashes --target=/opt/fedid --requirement=/build/run.txt \
 && rm -rf /opt/fedid/bin /build/venv \
 && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash -x '/client/(api|models)/(?!__init__)' /opt/fedid \
 && chmod -R a+rX,go-w /opt/fedid
COPY operator/fedid /opt/fedid/fedid
RUN python3 -m compileall -q --invalidation-mode unchecked-hash /opt/fedid/fedid && chmod -R a+rX,go-w /opt/fedid/fedid

FROM ${BASE}
ENV PYTHONPATH=/opt/fedid \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PYTHONSAFEPATH=1
# What installs software has no place where nothing is installed.
RUN find / -xdev \( -path /proc -o -path /sys \) -prune -o \
      \( -name pip -o -name 'pip-*' -o -name 'pip[0-9]*' -o -name ensurepip -o -name 'setuptools*' -o -name python-wheels \) \
      -print -prune | xargs -r rm -rf
# /healthz, /readyz and /metrics
EXPOSE 8080
USER 65532:65532
ENTRYPOINT ["python3", "-m", "fedid"]
COPY --from=build /opt/fedid /opt/fedid
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="fedid" \
      org.opencontainers.image.description="Identities of machine-learning federations by manifest: Keycloak, Vault, mounted Secrets" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
