"""One call each: the only place where protocol buffers and HTTP exist."""
