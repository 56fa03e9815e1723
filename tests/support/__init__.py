"""What several test modules share: real servers, stand-ins and expected values."""
