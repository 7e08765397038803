"""What a program gets from pk3s: the documents of `-o json` and `-o yaml`, the lines of `--progress json`."""
