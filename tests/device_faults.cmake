# The trainer fails where the test wants it to.
target_link_options(test_device_faults PRIVATE -Wl,--wrap=train_run)
