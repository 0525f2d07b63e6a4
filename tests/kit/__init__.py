"""What tests share: senders, stubs, engines that are started for real, generators of input, a running collector."""
