# Thin: see ./do, and meson.build for the rest.
.PHONY: demo test bench help
help:
	@./do help
demo test bench:
	@./do $@
