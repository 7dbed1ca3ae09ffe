"""Parts of scripts/build_demo_data.py: a small, public-domain, web-like image pool."""
