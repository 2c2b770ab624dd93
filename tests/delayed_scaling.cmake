# The test of delayed scaling decides what the trainer's batches hold.
target_link_options(test_delayed_scaling PRIVATE -Wl,--wrap=dataset_training_batch)
