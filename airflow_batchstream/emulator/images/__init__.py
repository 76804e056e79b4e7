"""Images of the local Batch: where they are kept, how they come in and go out, how they are unpacked and built."""
