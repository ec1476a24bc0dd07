"""A reader of format E1, written from docs/formats.md alone; shares no code with the product."""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305


def expand(key: bytes, info: bytes, size: int) -> bytes:
    """HKDF-Expand with SHA-512, RFC 5869 section 2.3."""
    block, out = b"", b""
    while len(out) < size:
        block = hmac.digest(key, block + info + bytes((len(out) // 64 + 1,)), "sha512")
        out += block
    return out[:size]


def gcm(key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
    """AES-256-GCM, the tag at the end."""
    cipher = Cipher(algorithms.AES(key), modes.GCM(nonce, sealed[-16:])).decryptor()
    cipher.authenticate_additional_data(aad)
    return cipher.update(sealed[:-16]) + cipher.finalize()


def root_unwrap(root_key: bytes, row_id: bytes, domain: bytes, version: int, blob: bytes) -> bytes:
    """The tenant key in a row of the key table that a local root key wrapped."""
    binding = b"osf/e1/tk\0" + row_id + version.to_bytes(4, "big") + domain
    key = expand(root_key, b"osf/e1/root\0" + blob[:24] + binding, 32)
    return gcm(key, bytes(12), blob[24:], binding)


def decode(data: bytes, module_data: str, domain: bytes, tenant_keys: dict[bytes, bytes]) -> bytes:
    """The plaintext of the encrypted object *data*; raises anything when it is not authentic."""
    _, uid, length, rewrap, _ = module_data.split(":", 4)
    assert data[:8] == b"OSF-E1\r\n"
    suite, bits, header_size = data[8], data[9], int.from_bytes(data[10:12], "big")
    assert suite in (1, 2)
    assert bits == 16
    assert header_size == 132
    ids = len(domain).to_bytes(2, "big") + domain + len(uid).to_bytes(2, "big") + uid.encode()
    ctx = b"osf/e1\0" + ids + data[8:10]
    wrap = data[12:100] if rewrap == "-" else bytes.fromhex(rewrap)
    wrapping_key = expand(tenant_keys[wrap[:16]], b"osf/e1/wrap" + wrap[16:40] + ctx, 32)
    object_key = gcm(wrapping_key, bytes(12), wrap[40:], data[:12] + wrap[:40])
    derived = expand(object_key, b"osf/e1/body\0" + data[28:52] + ctx, 76)
    assert hmac.compare_digest(derived[44:], data[100:132])
    body, plain, number = data[132:], [], 0
    while not plain or len(plain[-1]) == 65536:
        sealed, body = body[:65552], body[65552:]
        nonce = (int.from_bytes(derived[32:44], "big") ^ number).to_bytes(12, "big")
        if suite == 1:
            plain.append(gcm(derived[:32], nonce, sealed, b""))
        else:
            plain.append(ChaCha20Poly1305(derived[:32]).decrypt(nonce, sealed, None))
        number += 1
    assert body == b""
    whole = b"".join(plain)
    assert len(whole) == int(length)
    return whole
