"""A command envelope (VTC1) that nothing carries: what people paste. No unit speaks it, so it is none of the wire protocols."""

from collections.abc import Iterator
from typing import ClassVar

from protocols import envelope
from protocols.codec import Cut, Frame, Peer, Protocol, ProtocolError, parse

KINDS = {envelope.Type.REQUEST: "command", envelope.Type.RESPONSE: "result"}


class BareEnvelope(Protocol):
    """The envelope alone. Its tag is not checked: the id that it is made for does not travel with it."""

    name: ClassVar[str] = "vtc1"
    starts: ClassVar[tuple[bytes, ...]] = tuple(bytes((1, algorithm)) for algorithm in envelope.Algorithm)

    def split(self, payload: bytes) -> Iterator[Cut]:
        """One piece."""
        if payload:
            yield Cut(0, payload)

    def decode(self, data: bytes, peer: Peer | None = None) -> Frame:
        """Version, lengths, algorithm and type."""
        said = parse(envelope.DECLARATION, data)
        if said.algorithm not in tuple(envelope.Algorithm):
            raise ProtocolError("unsupported", 1, "algorithm", expected="01 or 02", found=f"{said.algorithm:02x}")
        if said.type not in KINDS:
            raise ProtocolError("malformed", 3, "type", expected="01 or 02", found=f"{said.type:02x}")
        return Frame(KINDS[said.type], facts={"envelope": data})

    def encode(self, frame: Frame, key: bytes = b"") -> bytes:
        """The envelope of the frame's facts."""
        return bytes(frame.facts["envelope"])


BARE = BareEnvelope()
