"""WebShop: a shop of text pages, played by `search[...]` and `click[...]` (spec/environments.md, section 2)."""
