"""Small matrices get one thread, and what was allowed before is given back."""

from threadpoolctl import threadpool_info

from surrogate.process.threads import few_threads


def threads():
    return [lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"]


def test_few_threads_while_it_lasts():
    before = threads()
    with few_threads(300):
        assert set(threads()) == {1}
    with few_threads(5000):
        assert max(threads()) <= 2
    assert threads() == before
