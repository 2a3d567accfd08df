"""The MQTT session of a unit."""

from bench.conformance.checks.units.played import broken
from bench.conformance.requirement import NotExecuted, proves
from bench.conformance.talk import UnitTalk


def _session(talk: UnitTalk) -> None:
    if not talk.wire.sees_session:
        raise NotExecuted(
            "the kit does not see the unit's MQTT packets on this line", "let the unit connect to the kit: --listen"
        )
    talk.up()


@proves("CBX-LINK-001")
def names_itself(talk: UnitTalk) -> str:
    _session(talk)
    for heard in talk.connections:
        assert heard.connect is not None
        if (heard.connect.client_id, heard.connect.user_name) != (str(talk.unit), str(talk.unit)):
            raise broken(talk, f"client id and user name {talk.unit}", f"{heard.connect.client_id} and {heard.connect.user_name}")
    return str(talk.unit)


@proves("CBX-LINK-002")
def keeps_its_session(talk: UnitTalk) -> str:
    _session(talk)
    for heard in talk.connections:
        if heard.connect is not None and heard.connect.clean_session:
            raise broken(talk, "clean session 0", "clean session 1")
    return f"{len(talk.connections)} connections"


@proves("CBX-LINK-003")
def has_a_will(talk: UnitTalk) -> str:
    _session(talk)
    wanted = (f"v1/{talk.unit}/presence", b"offline", 1, True)
    for heard in talk.connections:
        if heard.connect is not None and heard.connect.will != wanted:
            raise broken(talk, f"the will {wanted}", str(heard.connect.will))
    return str(wanted)


@proves("CBX-LINK-004")
def listens_to_its_own(talk: UnitTalk) -> str:
    _session(talk)
    found = [heard.filters for heard in talk.wire.heard if heard.what == "subscribe"]
    for filters in found:
        for topic, qos in filters:
            if topic != f"v1/{talk.unit}/down" or qos != 1:
                raise broken(talk, f"v1/{talk.unit}/down at QoS 1", f"{topic} at QoS {qos}")
    if not found:
        raise broken(talk, f"a subscription to v1/{talk.unit}/down", "none")
    return f"{len(found)} subscriptions"


@proves("CBX-LINK-005")
def says_online(talk: UnitTalk) -> str:
    if not talk.wire.sees_presence:
        raise NotExecuted("the kit does not see MQTT messages on this line", "use --listen or --broker")
    talk.up()
    said = [heard for heard in talk.wire.heard if heard.what == "presence" and heard.payload == b"online"]
    if not said:
        raise broken(talk, f"`online` on v1/{talk.unit}/presence", "nothing")
    if talk.wire.sees_session and any(heard.publish is not None and not heard.publish.retain for heard in said):
        raise broken(talk, "retained", "not retained")
    return f"{len(said)} times"


@proves("CBX-LINK-006")
def publishes_at_qos_1(talk: UnitTalk) -> str:
    _session(talk)
    for heard in talk.wire.heard:
        publish = heard.publish
        if heard.what == "other" and publish is not None:
            raise broken(talk, f"v1/{talk.unit}/up", publish.topic)
        if heard.what == "payload" and publish is not None and publish.qos != 1:
            raise broken(talk, "QoS 1", f"QoS {publish.qos}")
    return "every payload"
