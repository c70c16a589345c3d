from tests.support.shared_memory import scripted_locks, stripes
from trioedge.structures.shared.keys import digest_of
from trioedge.structures.shared.rows import KNOWN, NO_KEY, ROWS_A_STEP, WAYS, Idle, KeyPlace, Rows, rows_with_digest

DIGEST = digest_of("edge", b"salt")


def make_rows(rows: int = 64, capacity: int = 32) -> Rows:
    return Rows(memoryview(bytearray(8 * rows)).cast("Q"), capacity, DIGEST, stripes(scripted_locks()))


def none_idle(first: int, now: float) -> int:
    return -1


def first_free(rows: Rows) -> Idle:
    """Take the first row of the bucket without a key."""

    def idle(first: int, now: float) -> int:
        return next((row for row in range(first, first + WAYS) if not rows.digests[row]), -1)

    return idle


def test_a_key_has_no_row_until_it_takes_an_idle_one_and_keeps_it() -> None:
    rows = make_rows()
    place = rows.place("a")
    assert rows.find(place) == -1
    row = rows.seek(place, 0.0, first_free(rows))
    assert row in range(place.first, place.first + WAYS)
    assert rows.find(place) == rows.seek(place, 0.0, none_idle) == row
    assert sum(rows.used()) == 1


def test_a_full_bucket_gives_no_row() -> None:
    rows = make_rows(WAYS, 1)
    for number in range(WAYS):
        assert rows.seek(rows.place(number), 0.0, first_free(rows)) == number
    assert rows.seek(rows.place(WAYS), 0.0, first_free(rows)) == -1


def test_a_place_that_is_out_of_date_is_found_again() -> None:
    rows = make_rows(WAYS, 1)
    place = rows.place("a")
    place.row = rows.seek(place, 0.0, first_free(rows))
    rows.digests[place.row], rows.digests[9] = 0, place.digest
    assert rows.find(place) == 9


def test_a_second_row_of_one_key_is_taken_from_it() -> None:
    rows = make_rows(WAYS, 1)
    place = rows.place("a")
    rows.digests[3] = rows.digests[9] = place.digest
    assert rows.seek(place, 0.0, none_idle) == 3
    assert (rows.digests[3], rows.digests[9]) == (place.digest, NO_KEY)
    assert sum(rows.used()) == 1


def test_a_table_uses_twice_the_rows_of_its_capacity_and_no_more_than_it_has() -> None:
    for capacity, buckets in ((1, 1), (8, 1), (9, 2), (16, 2), (17, 4), (10_000, 8)):
        rows = make_rows(128, capacity)
        assert max(rows.place(key).first for key in range(500)) == (buckets - 1) * WAYS


def test_keys_of_one_bucket_share_its_lock_and_others_are_spread() -> None:
    rows = make_rows(4096, 2048)
    places = [rows.place(key) for key in range(2000)]
    lock_of = {place.first: place.stripe for place in places}
    assert all(lock_of[place.first] is place.stripe for place in places)
    assert len({id(place.stripe) for place in places}) == 64


def test_places_are_remembered_and_few_enough() -> None:
    rows = make_rows()
    assert rows.place("a") is rows.place("a")
    for key in range(KNOWN):
        rows.place(key)
    assert isinstance(rows.place("a"), KeyPlace)
    assert len(rows._known) <= KNOWN


def test_an_object_with_a_name_is_not_kept_alive() -> None:
    class Tenant:
        key_name = "shop"

    rows, tenant = make_rows(), Tenant()
    assert rows.place(tenant).digest == rows.place(Tenant()).digest
    assert not rows._known


def test_the_rows_with_a_digest_are_found_among_many_without() -> None:
    digests = memoryview(bytearray(8 * (2 * ROWS_A_STEP + 16))).cast("Q")
    found = [0, ROWS_A_STEP - 1, ROWS_A_STEP, 2 * ROWS_A_STEP + 15]
    for row in found:
        digests[row] = 5
    assert [*rows_with_digest(digests)] == found
    assert [*rows_with_digest(digests[:0])] == []
