"""The checksums of the wire protocols, by their names in the CRC RevEng catalogue.

Each takes the bytes and gives the checksum as an int. fastcrc computes them; crcmod, which takes the polynomial itself, is
the oracle that the tests hold them against.
"""

from typing import Literal

from fastcrc import crc16, crc32


def crc16_ccitt_false(data: bytes) -> int:
    """CRC-16/IBM-3740, "CCITT-FALSE": poly 0x1021, init 0xFFFF, not reflected; check("123456789") = 0x29B1."""
    return crc16.ibm_3740(data)


def crc16_xmodem(data: bytes) -> int:
    """CRC-16/XMODEM: poly 0x1021, init 0, not reflected; check("123456789") = 0x31C3."""
    return crc16.xmodem(data)


def crc16_arc(data: bytes) -> int:
    """CRC-16/ARC, "IBM": poly 0x8005, init 0, reflected; check("123456789") = 0xBB3D."""
    return crc16.arc(data)


def crc32_iso_hdlc(data: bytes) -> int:
    """CRC-32/ISO-HDLC, zlib's: poly 0x04C11DB7, init and xorout all ones, reflected; check("123456789") = 0xCBF43926."""
    return crc32.iso_hdlc(data)


def bcc(data: bytes) -> int:
    """Block check character: XOR of all bytes (GB/T 32960.3-2016 clause 6.2, table 2)."""
    value, size_bytes = int.from_bytes(data, "big"), len(data)
    while size_bytes > 1:
        size_bytes = (size_bytes + 1) // 2
        value = value >> 8 * size_bytes ^ value & (1 << 8 * size_bytes) - 1
    return value


def length_guess(field: bytes, there: int, order: Literal["little", "big"]) -> str:
    """What happened to a length field that does not say `there`, where the checksum holds over the bytes that are there."""
    if there == int.from_bytes(field[::-1], order):
        return f"the length field's bytes are swapped: it is {order}-endian"
    return "the length field was edited: the checksum holds over the bytes that are there"
