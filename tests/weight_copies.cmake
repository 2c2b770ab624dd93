# The test that trains with and without the optimizer's copies stands between the trainer and the
# session.
target_link_options(test_weight_copies PRIVATE -Wl,--wrap=mpt_session_offer_copies)
