"""Pages of other sites, which ask an API without a token."""

import pytest

import trioedge as te
from tests.support.admin import api_of, ask
from trioedge.admin.http.sites import check_site
from trioedge.admin.refusals import RefusedError


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"host": b"edge"},
        {b"host": b"localhost:9100"},
        {b"host": b"127.0.0.1:9100", b"origin": b"http://127.0.0.1:9100"},
        {b"host": b"[::1]:9100", b"origin": b"http://[::1]:9100"},
    ],
)
def test_a_program_and_the_own_page_may_ask(headers: dict[bytes, bytes]) -> None:
    check_site(headers)


@pytest.mark.parametrize(
    "headers",
    [
        {b"host": b"127.0.0.1:9100", b"origin": b"https://bad.example"},
        {b"host": b"127.0.0.1:9100", b"origin": b"http://127.0.0.1:8000"},
        {b"host": b"127.0.0.1:9100", b"origin": b"null"},
        {b"host": b"127.0.0.1:9100", b"origin": b""},
        {b"host": b"rebound.bad.example:9100"},
        {b"host": b"rebound.bad.example:9100", b"origin": b"http://rebound.bad.example:9100"},
    ],
)
async def test_a_page_of_another_site_is_refused_and_counted(headers: dict[bytes, bytes]) -> None:
    with pytest.raises(RefusedError):
        check_site(headers)
    api = api_of()
    assert (await ask(api, "POST", "/v1/apply", b"{}\n", headers=headers)).status == 403
    assert api.errors == {403: 1}


async def test_a_token_keeps_pages_of_other_sites_out_so_a_proxy_may_have_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ADMIN_TOKEN", "right")
    api = api_of(token=te.Secret(env="ADMIN_TOKEN"))
    headers = {b"host": b"edge.example.com", b"authorization": b"Bearer right"}
    assert (await ask(api, "GET", "/v1/state", headers=headers)).status == 200
