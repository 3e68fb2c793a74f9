"""The tests of fedid: they mirror operator/fedid, with the real servers where there are any."""
