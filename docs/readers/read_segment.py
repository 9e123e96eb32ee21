#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Prints what a process under twshim counted so far, by destination. An example of a program that
reads segments without twshim; twshim/segment.h is the description of the layout.

    read_segment.py /run/twshim/$UID/...seg
"""
import ipaddress
import struct
import sys

MAGIC, BYTE_ORDER, ABI_MAJOR = 0x314d494853575421, 0x01020304, 1
HEADER = "=QIHHQII"       # magic, byte order, ABI, size of the file, of the header, sections
SECTION = "=QIIII"        # offset, size of an element, count, used, ready
DESTINATIONS = 2          # enum tws_section_id
ADDRESS = "=II16sHB5x"    # struct tws_destination up to its counters: state, -, bytes, port, family
READY, IPV4 = 2, 4        # TWS_DESTINATION_READY, TWS_IPV4
# Places in enum tws_counter. Counters are only appended, so these never change.
ENDED_LOCAL_FIN, ESTABLISHED = 0, 8


def section(data, number):
    """Offset, size of an element, and how many are in use."""
    at = struct.calcsize(HEADER) + number * struct.calcsize(SECTION)
    offset, size, count, used, _ = struct.unpack_from(SECTION, data, at)
    return offset, size, min(count, used)


def destinations(data):
    """(address, port, counters) of each destination; ValueError if it is not a segment."""
    if len(data) < 4096 or struct.unpack_from("=QIH", data) != (MAGIC, BYTE_ORDER, ABI_MAJOR):
        raise ValueError("not a segment of ABI 1")
    offset, size, count = section(data, DESTINATIONS)
    for at in range(offset, offset + size * count, size):
        state, _, address, port, family = struct.unpack_from(ADDRESS, data, at)
        if state != READY:
            continue
        counters = struct.unpack_from("=64Q", data, at + struct.calcsize(ADDRESS))
        name = "other"
        if family:
            name = str(ipaddress.ip_address(address[:4] if family == IPV4 else address))
        yield name, port, counters


def main():
    """One line per destination."""
    with open(sys.argv[1], "rb") as file:  # a copy: the file of a living process changes
        data = file.read(16 << 20)
    for name, port, counters in destinations(data):
        if counters[ESTABLISHED]:
            print(name, port, "established", counters[ESTABLISHED],
                  "ended_local_fin", counters[ENDED_LOCAL_FIN])


if __name__ == "__main__":
    main()
