# The clock is the test's.
target_link_options(test_store_syncs PRIVATE -Wl,--wrap=mpt_clock_seconds)
