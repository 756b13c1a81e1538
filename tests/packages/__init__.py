"""What `make dist` made: what is in it, how it installs, and the sealers of the wheel and the npm package."""
