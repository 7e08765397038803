"""`python -m productive_k3s_infra` is `pk3s`."""

from productive_k3s_infra.cli.app import main

if __name__ == "__main__":
    main()
