"""The shipped test kit: fakes, generators and samples that tests of Tidewaiter, and of parts added to it, use."""
