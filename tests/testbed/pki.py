"""The stack's own certificate authority, its serving certificate and its signing keys."""

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.testbed.addresses import LOOPBACK, service_address
from tests.testbed.paths import StatePaths, write_private

VALIDITY = timedelta(days=3650)
"""Longer than any stack lives."""

SERVING_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
KUBELET_CLIENT = ("kube-apiserver-kubelet-client", "system:masters")
"""User and group that the API server is at the kubelet."""


def ensure_pki(paths: StatePaths) -> None:
    """Make the stack's keys and certificates; those that are complete stay.

    The public files are written last, each after its private one, so that a
    public file that is there always has its key.
    """
    if not paths.kubelet_client_certificate.exists():
        _make_certificates(paths)
    if not paths.service_account_public_key.exists():
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        write_private(paths.service_account_key, _private_pem(key))
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        write_private(paths.service_account_public_key, public.decode())


def _make_certificates(paths: StatePaths) -> None:
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_name = _name("fedid testbed")
    authority_identifier = x509.SubjectKeyIdentifier.from_public_key(authority_key.public_key())
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        # Python 3.13 and later refuse an authority without these two.
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(authority_identifier, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    serving_key = ec.generate_private_key(ec.SECP256R1())
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in SERVING_NAMES]
    names += [x509.IPAddress(ipaddress.ip_address(text)) for text in (LOOPBACK, service_address(paths))]

    def signed(subject: x509.Name, key: ec.EllipticCurvePrivateKey, usage: x509.ObjectIdentifier) -> x509.Certificate:
        return (
            _builder(subject, authority_name, key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority_identifier),
                critical=False,
            )
            .sign(authority_key, hashes.SHA256())
        )

    serving = signed(_name("fedid testbed server"), serving_key, ExtendedKeyUsageOID.SERVER_AUTH)
    client_key = ec.generate_private_key(ec.SECP256R1())
    client = signed(_name(*KUBELET_CLIENT), client_key, ExtendedKeyUsageOID.CLIENT_AUTH)
    write_private(paths.serving_key, _private_pem(serving_key))
    write_private(paths.kubelet_client_key, _private_pem(client_key))
    _write_certificate(paths.ca_certificate, authority)
    _write_certificate(paths.serving_certificate, serving)
    _write_certificate(paths.kubelet_client_certificate, client)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        # A clock that is set back a little must not make it invalid.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + VALIDITY)
    )


def _name(common_name: str, organisation: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organisation is not None:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(attributes)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _private_pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return pem.decode()


def _write_certificate(path: Path, certificate: x509.Certificate) -> None:
    write_private(path, certificate.public_bytes(serialization.Encoding.PEM).decode())
