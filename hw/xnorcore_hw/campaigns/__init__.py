"""Attacks on the link: bad wires, hostile hosts, things that are no device."""
