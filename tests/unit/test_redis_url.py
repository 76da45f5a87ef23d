"""`REDIS_URL`: what it may say, and that what it says is never shown with its password."""

from __future__ import annotations

import pytest

from events.redis_url import Address, Cluster, Sentinels, Server, parse
from events.settings import BadSettings, Settings, load

SERVERS = """
redis://10.0.0.1:7000                    10.0.0.1:7000
redis://redis                            redis:6379
redis://redis/3                          redis:6379
redis://[::1]:7000                       [::1]:7000
redis+cluster://a:1,b:2                  the cluster of a:1, b:2
redis+cluster://a/0                      the cluster of a:6379
redis+sentinel://a:1,b/main              main, as named by a:1, b:26379
rediss://user:secret@redis:7000          redis:7000
rediss+cluster://user:secret@a:1,b:2     the cluster of a:1, b:2
rediss+sentinel://:secret@a:1/main       main, as named by a:1
"""


@pytest.mark.parametrize("row", SERVERS.strip().splitlines())
def test_each_form_says_where_and_not_how_to_get_in(row: str) -> None:
    url, shown = row.split(maxsplit=1)

    address = parse(url)

    assert str(address) == shown
    assert address.tls == url.startswith("rediss")
    assert "secret" not in f"{address}{address!r}"
    assert address.password == ("secret" if "secret" in url else None)


def test_a_password_may_hold_any_sign_once_it_is_percent_encoded() -> None:
    address = parse("redis://me:p%40ss%2Fw%3Aord@redis:7000/2")

    assert address == Address(Server(("redis", 7000), 2), "me", "p@ss/w:ord")


def test_several_addresses_are_kept_in_their_order() -> None:
    assert parse("redis+cluster://b:2,a:1").where == Cluster((("b", 2), ("a", 1)))
    assert parse("redis+sentinel://b:2,a:1/wa").where == Sentinels((("b", 2), ("a", 1)), "wa")


REFUSED = """
http://redis:6379                 another protocol
redis                             no protocol
redis://                          no host
redis://a:1,b:2                   several, and no kind
redis://a:x                       no such port
redis://a:1/zero                  no such database
redis+cluster://a:1,              an empty host
redis+cluster://a:1/1             a cluster has one database
redis+sentinel://a:1              no service
redis+sentinel://a:1/             no service
redis+proxy://a:1                 no such kind
redis+cluster://a?b=c:1           a query
"""


@pytest.mark.parametrize("row", REFUSED.strip().splitlines())
def test_anything_else_is_refused_with_the_forms_there_are(
    row: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, _ = row.split(maxsplit=1)
    monkeypatch.setenv("REDIS_URL", url.replace("://", "://me:hunter2@"))

    with pytest.raises(BadSettings, match=r"^REDIS_URL: .*redis\+cluster://HOST:PORT") as refused:
        load()

    assert "hunter2" not in str(refused.value)


def test_the_url_comes_before_the_host_and_takes_the_password_that_it_lacks() -> None:
    said = {"redis_host": "elsewhere", "redis_password": "secret"}

    without = Settings.model_validate({**said, "redis_url": "redis://here:1"})
    with_one = Settings.model_validate({**said, "redis_url": "redis://:other@here:1"})
    unset = Settings.model_validate({**said, "redis_url": ""})

    assert (str(without.redis), without.redis.password) == ("here:1", "secret")
    assert with_one.redis.password == "other"
    assert str(unset.redis) == "elsewhere:6379"
    assert all(each.outside_redis for each in (without, with_one, unset))
    assert not Settings.model_validate({}).outside_redis
