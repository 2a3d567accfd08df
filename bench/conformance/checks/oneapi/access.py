"""Tokens, scopes, grants."""

from bench.conformance.checks.gateways.played import broken, on_the_road
from bench.conformance.checks.oneapi.answers import status
from bench.conformance.requirement import NotExecuted, proves
from bench.conformance.site import Site


@proves("ONE-AUTH-001")
def grants_tokens(site: Site) -> str:
    answer = site.phase("a token", site.token)
    status(site, answer, 200)
    said = answer.json()
    if said.get("token_type", "").lower() != "bearer" or said.get("expires_in") != 900 or not said.get("access_token"):
        raise broken(site, "a Bearer token for 900 s", {key: value for key, value in said.items() if key != "access_token"})
    return "900 s"


@proves("ONE-AUTH-002")
def refuses_a_wrong_secret(site: Site) -> str:
    if site.access.client is None:
        raise NotExecuted("the kit has a token and no client", "give --client ID:SECRET")
    answer = site.token(client=(site.access.client[0], "wrong"))
    status(site, answer, 401)
    if answer.json().get("error") != "invalid_client" or "www-authenticate" not in answer.headers:
        raise broken(site, "invalid_client and WWW-Authenticate", answer.text[:160])
    return "invalid_client"


@proves("ONE-AUTH-003")
def wants_a_token(site: Site) -> str:
    status(site, site.call("GET", "/vehicles", token=None), 401)
    return "401"


@proves("ONE-AUTH-004")
def refuses_a_made_up_token(site: Site) -> str:
    status(site, site.call("GET", "/vehicles", token="made.up.token"), 401)
    return "401"


def _narrow(site: Site) -> str:
    """A token of the kit's client for vehicles.ro alone."""

    def play() -> str:
        answer = site.token("vehicles.ro")
        if answer.status_code != 200:
            raise NotExecuted(
                f"no token for vehicles.ro: {answer.status_code} {answer.text[:120]}", "give a client with the scope vehicles"
            )
        return str(answer.json()["access_token"])

    return site.phase("a token for reading", play)


@proves("ONE-AUTH-005")
def reads_only(site: Site) -> str:
    token = _narrow(site)
    status(site, site.call("GET", "/vehicles", token=token), 200)
    status(site, site.call("POST", "/vehicles", token=token, json=site.body()), 403)
    return "200 and 403"


@proves("ONE-AUTH-006")
def may_not_command(site: Site) -> str:
    token, unit = _narrow(site), on_the_road(site)
    before = len(unit.requests)
    status(
        site, site.call("POST", f"/vehicles/{unit.id}/commands/request-vehicle-state", token=token, params={"timeout": 3}), 403
    )
    if len(unit.requests) > before:
        raise broken(site, "nothing sent to the unit", "a command")
    return "403"


@proves("ONE-AUTH-007")
def other_grants(site: Site) -> str:
    answer = site.token(grant_type="password")
    status(site, answer, 400)
    if answer.json().get("error") != "unsupported_grant_type":
        raise broken(site, "unsupported_grant_type", answer.text[:160])
    return "unsupported_grant_type"


@proves("ONE-AUTH-008")
def other_scopes(site: Site) -> str:
    answer = site.token("vehicles everything")
    status(site, answer, 400)
    if answer.json().get("error") != "invalid_scope":
        raise broken(site, "invalid_scope", answer.text[:160])
    return "invalid_scope"
