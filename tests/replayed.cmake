# The trainer is counted: a search that is replayed trains nothing.
target_link_options(test_replayed PRIVATE -Wl,--wrap=train_run)
