"""Every checksum against its catalogue value and against crcmod, which takes the polynomial itself."""

import zlib
from functools import reduce
from operator import xor

import crcmod
from hypothesis import given
from hypothesis import strategies as st

from protocols.checksums import bcc, crc16_arc, crc16_ccitt_false, crc32_iso_hdlc

CHECK = b"123456789"
CCITT_FALSE = crcmod.mkCrcFun(0x11021, initCrc=0xFFFF, rev=False, xorOut=0)
ARC = crcmod.mkCrcFun(0x18005, initCrc=0, rev=True, xorOut=0)


def test_catalogue_values():
    assert (crc16_ccitt_false(CHECK), crc16_arc(CHECK), crc32_iso_hdlc(CHECK), bcc(CHECK)) == (0x29B1, 0xBB3D, 0xCBF43926, 0x31)


@given(st.binary(max_size=200))
def test_equal_to_the_oracle(data):
    assert crc16_ccitt_false(data) == CCITT_FALSE(data)
    assert crc16_arc(data) == ARC(data)
    assert crc32_iso_hdlc(data) == zlib.crc32(data)


@given(st.binary(max_size=200), st.integers(0, 400))
def test_bcc_is_the_xor_of_all_bytes_of_short_and_long_data(data, times):
    assert bcc(data * times) == reduce(xor, data * times, 0)


@given(st.binary(max_size=200))
def test_bcc_is_undone_by_itself(data):
    assert bcc(data + bytes([bcc(data)])) == 0
