"""The checksums of the wire protocols, by their names in the CRC RevEng catalogue.

Each takes the bytes and gives the checksum as an int. fastcrc computes them; crcmod, which takes the polynomial itself, is
the oracle that the tests hold them against.
"""

from functools import reduce
from operator import xor

from fastcrc import crc16, crc32


def crc16_ccitt_false(data: bytes) -> int:
    """CRC-16/IBM-3740, "CCITT-FALSE": poly 0x1021, init 0xFFFF, not reflected; check("123456789") = 0x29B1."""
    return crc16.ibm_3740(data)


def crc16_arc(data: bytes) -> int:
    """CRC-16/ARC, "IBM": poly 0x8005, init 0, reflected; check("123456789") = 0xBB3D."""
    return crc16.arc(data)


def crc32_iso_hdlc(data: bytes) -> int:
    """CRC-32/ISO-HDLC, zlib's: poly 0x04C11DB7, init and xorout all ones, reflected; check("123456789") = 0xCBF43926."""
    return crc32.iso_hdlc(data)


def bcc(data: bytes) -> int:
    """Block check character: XOR of all bytes (GB/T 32960.3-2016 clause 6.2, table 2)."""
    return reduce(xor, data, 0)
