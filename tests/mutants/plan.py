"""Which files are mutated, and which tests look at them first."""

from __future__ import annotations

__all__ = ["ALL", "LEFT_OUT", "MORE", "PLAN"]

_PE = [
    "tests/hw/test_pe.py",
    "tests/hw/test_carry.py",
    "tests/formal/test_pe.py",
    "tests/formal/test_codes.py",
]
_SIZES = "act_depth=4096,weight_depth=4096,threshold_depth=512,acc_width=20"
_MAPS = [
    f"tests/hw/test_conv.py::test_random_networks[sim:rows={rows},columns={columns},width={width},{_SIZES}-{seed}]"
    for rows, columns, width in ((3, 4, 16), (1, 8, 8))
    for seed in range(12)
]
_NETWORK = [
    *_MAPS,
    "tests/hw/test_core.py::test_geometries[1-4-8]",
    "tests/hw/test_driver.py::test_random_networks -k not 32",
    "tests/hw/test_driver.py::test_results_that_come_before_the_image_ends",
    "tests/hw/test_core.py::test_bit_outputs[1-4-8]",
    "tests/hw/test_core.py::test_column_groups[3]",
    "tests/hw/test_core.py::test_smaller_devices",
    "tests/hw/test_core.py::test_threshold_memories_for_four_columns",
    "tests/hw/test_core.py::test_random_stalls[1]",
]
_DAMAGE = ["tests/hw/test_driver.py::test_damage_to_images_in_parts"]
_MEMORIES = [
    "tests/hw/test_core.py::test_memory_access",
    "tests/hw/test_core.py::test_what_is_read_waits_for_the_link",
    "tests/hw/test_core.py::test_addresses_do_not_wrap_in_the_largest_memory",
]
_MAP_REQUESTS = ["tests/hw/test_conv.py::test_a_group_that_ends_inside_an_image_is_refused -k not 32"]
_WIDE_BATCH = ["tests/hw/test_core.py::test_geometries[8-4-8]"]
_REQUESTS = [
    "tests/hw/test_core.py::test_refused_requests",
    "tests/hw/test_core.py::test_refused_inference",
    "tests/hw/test_core.py::test_memory_access",
    "tests/hw/test_core.py::test_what_is_read_waits_for_the_link",
    "tests/hw/test_core.py::test_info_and_reset",
    "tests/hw/test_core.py::test_images_in_parts",
    "tests/hw/test_core.py::test_a_device_without_counters",
    "tests/hw/test_core.py::test_reset_and_arm_forget_a_group",
    "tests/hw/test_core.py::test_other_requests_close_a_group",
    "tests/hw/test_core.py::test_addresses_do_not_wrap_in_the_largest_memory",
    "tests/hw/test_core.py::test_what_run_does_is_not_counted",
    "tests/hw/test_core.py::test_a_request_inherits_no_place",
    "tests/hw/test_core.py::test_counters_are_cleared_when_that_is_asked_for",
]
_HOSTILE = [
    "tests/hw/test_hostile.py::test_run_names_a_bad_descriptor",
    "tests/hw/test_hostile.py::test_reset_in_the_middle_of_an_answer",
    "tests/hw/test_hostile.py::test_the_counts_of_frames_stop_at_their_largest",
]
_BAKED = ["tests/hw/test_baked.py"]
_FRAMES = ["tests/hw/test_link_frames.py"]
_RECEIVER = [
    "tests/formal/test_receiver.py",
    "tests/formal/test_receiver.py::test_only_good_frames_become_packets[prefix1]",
]
_UART = ["tests/hw/test_link_uart.py"]
_CONTROL = ["tests/hw/test_control.py"]
_WINDOWS = [
    "tests/hw/test_windows.py",
    *(f"tests/hw/test_conv.py::test_random_networks[device3-{seed}]" for seed in range(6)),
]
_SINGLE = ["tests/hw/test_single_memory.py"]
_ONE_PORT = [
    "tests/hw/test_cycles.py::test_maps_on_one_port",
    "tests/hw/test_cycles.py::test_random_networks_on_one_port",
    "tests/formal/test_one_port.py",
]
_RINGS = [
    "tests/hw/test_prefetch.py",
    "tests/formal/test_rings.py",
    "tests/formal/test_rings.py::test_words_are_there_and_are_not_written_over[ram-4]",
    "tests/formal/test_rings.py::test_words_are_there_and_are_not_written_over[flash-4]",
]
_STORED = ["tests/hw/test_store.py", "tests/hw/test_store.py::test_random_networks[-1]"]
_SDRAM = ["tests/hw/test_sdram.py", "tests/formal/test_sdram.py", "tests/hw/test_sdram_device.py"]
_FLASH = ["tests/hw/test_flash_store.py", "tests/hw/test_flash_device.py", "tests/formal/test_flash.py"]
_KEPT = ["tests/hw/test_kept.py"]
_FRAMED = ["tests/hw/test_framed.py"]
_EXPORT = ["tests/hw/test_export.py"]
_STREAM = ["tests/hw/test_stream_shell.py", "tests/hw/test_stream_speed.py::test_as_fast_as_the_core[1]"]
_INFER = ["tests/hw/test_infer.py"]
_SEQUENCER = ["tests/hw/test_sequencer.py"]
_WRITES = ["tests/hw/test_write_stage.py", "tests/hw/test_loader.py"]
_INTERLEAVER = [
    "tests/hw/test_conv.py::test_interleaver",
    "tests/hw/test_conv.py::test_interleaver_of_packed_bits",
]
_LOADER = ["tests/hw/test_loader.py"]
_WAITS = ["tests/formal/test_waits.py"]
_CODES = [
    "tests/formal/test_codes.py",
    "tests/hw/test_codes.py::test_layers_and_cycles[0]",
    "tests/hw/test_copies.py",
]
_SUMS = [
    "tests/formal/test_row_sums.py",
    "tests/hw/test_array.py::test_bits_are_those_of_whole_words",
    "tests/hw/test_row_sums.py::test_layers_and_cycles[0]",
]
_UNIT = ["tests/formal/test_results_unit.py", "tests/hw/test_results_unit.py::test_layers_and_cycles[0]"]
_SCALED = ["tests/formal/test_scaled.py", "tests/hw/test_scaled.py::test_layers_and_cycles[0]"]
_LANE = [
    "tests/formal/test_results_unit.py::test_a_lane_gives_the_nearest_code[3-1]",
    "tests/formal/test_scaled.py::test_a_lane_multiplies_and_folds[10-4]",
]
_VALUE_PROOFS = [
    "tests/formal/test_values.py::test_a_lane_gives_the_nearest_value",
    "tests/formal/test_values.py::test_words_are_where_the_order_says",
]
_VALUES = [
    "tests/formal/test_values.py",
    *(f"tests/hw/test_values.py::test_layers_and_cycles[{device}]" for device in (0, 2)),
]
_ROWS = [
    "tests/hw/test_rows.py::test_parts_of_results",
    *(f"tests/hw/test_rows.py::test_layers_and_cycles[{device}]" for device in (0, 1)),
]
_FETCH = ["tests/formal/test_addresses.py -k fetch"]
_NEST = ["tests/hw/test_nest.py"]
_COUNTERS = ["tests/hw/test_counters.py"]
_KEYS = [
    "tests/hw/test_core.py::test_images_for_another_program_are_refused",
    "tests/hw/test_core.py::test_a_key_that_is_not_whole_is_refused",
    "tests/hw/test_core.py::test_the_key_is_that_of_the_program_that_was_armed_last",
]
_BATCHES = [
    "tests/hw/test_core.py::test_images_are_counted_where_batches_follow_each_other",
    "tests/hw/test_core.py::test_results_wait_for_a_slow_link[3-10]",
]

PLAN: dict[str, list[str]] = {
    "array/array.py": [
        *_NETWORK,
        "tests/hw/test_array.py",
        "tests/hw/test_conv.py -k share_a_memory",
        *_BAKED,
        *_CODES,
        *_SUMS,
        *_UNIT,
    ],
    "array/buffers.py": [
        *_NETWORK,
        "tests/hw/test_array.py",
        "tests/hw/test_conv.py -k share_a_memory",
        *_BAKED,
        *_STORED,
    ],
    "array/capture.py": _UNIT,
    "array/carry/ecp5.py": _PE,
    "array/carry/generic.py": _PE,
    "array/carry/ice40.py": _PE,
    "array/factors.py": ["tests/hw/test_factors.py", *_LANE, *_SCALED],
    "array/lane.py": [*_LANE, *_UNIT, *_VALUES, *_SCALED],
    "array/pe.py": [*_PE, *_SUMS],
    "array/popcount.py": [*_PE, "tests/hw/test_array.py"],
    "array/starts.py": [*_NETWORK, *_STORED, *_CODES],
    "array/sums.py": _SUMS,
    "array/unit.py": [
        *_UNIT,
        *_VALUES,
        *_SCALED,
        *_ROWS,
        "tests/hw/test_results_unit.py::test_layers_and_cycles[2]",
        "tests/hw/test_results_unit.py::test_its_words_are_there_from_power_up_on",
    ],
    "array/values.py": [*_VALUE_PROOFS, *_VALUES, *_ROWS],
    "command/arguments.py": [*_CONTROL, *_REQUESTS, *_MEMORIES],
    "command/boot.py": [*_KEPT, "tests/hw/test_keeper.py"],
    "command/control.py": [*_CONTROL, *_KEYS, *_REQUESTS, *_BATCHES, *_MAPS, *_DAMAGE],
    "command/counters.py": [*_COUNTERS, *_BATCHES],
    "command/header.py": [*_CONTROL, *_KEYS, *_MAPS],
    "command/identity.py": [*_CONTROL, "tests/hw/test_core.py::test_info_and_reset"],
    "command/infer.py": [
        *_INFER,
        *_KEYS,
        *_REQUESTS,
        *_BATCHES,
        *_MAPS,
        *_DAMAGE,
        *_WIDE_BATCH,
        *_MAP_REQUESTS,
    ],
    "command/records.py": ["tests/formal/test_queue.py", *_CONTROL, *_NETWORK],
    "command/responder.py": [*_MAPS, *_REQUESTS, *_BATCHES, *_NETWORK, *_HOSTILE, *_WIDE_BATCH],
    "command/words.py": [*_CONTROL, *_REQUESTS, *_MEMORIES, *_BAKED, *_MAPS],
    "command/writing.py": [*_MEMORIES, *_REQUESTS, *_NETWORK, *_STORED, "tests/hw/test_keeper.py"],
    "core.py": [*_MAPS, *_REQUESTS, *_BATCHES, *_NETWORK, *_HOSTILE, *_WIDE_BATCH, *_MAP_REQUESTS],
    "input/images.py": [*_MAPS, *_MAP_REQUESTS, *_BATCHES, *_REQUESTS],
    "input/interleaver.py": [*_INTERLEAVER, *_MAPS, *_MAP_REQUESTS],
    "input/lines.py": [*_INTERLEAVER, *_MAPS, *_MAP_REQUESTS],
    "input/loader.py": [*_LOADER, *_MAPS, *_BATCHES, *_MAP_REQUESTS],
    **dict.fromkeys(["input/padded.py", "input/windows.py"], _WINDOWS),
    "input/planes.py": [*_LOADER, *_MAPS],
    "input/walk.py": [*_INTERLEAVER, *_MAPS],
    "interfaces.py": [*_NEST, *_LOADER, *_MEMORIES, *_NETWORK, *_CODES, *_SUMS],
    "link/framing/checksum.py": _FRAMES,
    "link/framing/receiver.py": [*_FRAMES, *_RECEIVER, *_HOSTILE],
    "link/framing/sender.py": [*_FRAMES, *_HOSTILE],
    "link/phy/uart.py": _UART,
    "memory/activation.py": ["tests/hw/test_write_stage.py", *_NETWORK, *_MEMORIES, *_ONE_PORT, *_ROWS],
    **dict.fromkeys(["memory/single/generic.py", "memory/single/ice40.py"], _SINGLE),
    "memory/fill.py": [*_RINGS, *_STORED, *_NETWORK, *_MEMORIES],
    "memory/keeper.py": ["tests/formal/test_flash.py -k beside", "tests/hw/test_keeper.py"],
    "memory/prefetch.py": [*_RINGS, *_STORED, "tests/hw/test_flash_device.py", *_KEPT],
    "memory/queue.py": ["tests/hw/test_word_queue.py", "tests/formal/test_word_queue.py"],
    "memory/ring.py": [*_RINGS, *_STORED],
    "memory/stream_sum.py": ["tests/formal/test_stream_sum.py", *_STORED],
    **dict.fromkeys([f"memory/stores/{part}.py" for part in ("access", "ram")], _STORED),
    **dict.fromkeys([f"memory/stores/{part}.py" for part in ("flash", "flash_pages", "flash_wire")], _FLASH),
    **dict.fromkeys(["memory/stores/sdram.py", "memory/stores/sdram_pins.py"], _SDRAM),
    "memory/cutter.py": ["tests/hw/test_cutter.py", *_MAPS],
    "memory/row_parts.py": _ROWS,
    "memory/place.py": [*_NETWORK, *_BATCHES, *_WIDE_BATCH, *_CODES, *_UNIT, *_ROWS],
    "memory/rows.py": ["tests/hw/test_write_stage.py", *_NETWORK, *_MEMORIES, *_ONE_PORT],
    "memory/write_stage.py": [*_WRITES, *_MEMORIES, *_NETWORK],
    "memory/writer.py": [*_NETWORK, *_BATCHES, *_WIDE_BATCH, *_ONE_PORT, *_CODES, *_UNIT, *_ROWS],
    "parts/counting.py": [*_NEST, *_LOADER, *_FRAMES, *_MAPS],
    "parts/delay.py": [*_NETWORK, *_HOSTILE],
    "parts/naming.py": [*_MAPS, *_NETWORK],
    "parts/limits.py": ["tests/hw/test_limits.py", *_CONTROL],
    "parts/sizes.py": [*_NETWORK, *_MAPS],
    "parts/selection.py": ["tests/hw/test_control.py::test_selection", *_MEMORIES],
    "parts/stream_register.py": ["tests/formal/test_queue.py -k register", *_NETWORK],
    "sequence/batches.py": [*_BATCHES, *_MAPS, *_NETWORK],
    "sequence/causes.py": [*_BATCHES, *_NETWORK],
    "sequence/edges.py": [*_NEST, *_ROWS],
    "sequence/emissions.py": [*_SEQUENCER, *_MAPS, *_NETWORK, *_CODES],
    "sequence/fetch.py": [*_SEQUENCER, *_HOSTILE, *_MAPS, *_NETWORK, *_FETCH, *_CODES, *_ROWS],
    "sequence/hazards.py": [*_WAITS, *_STORED, *_MAPS, *_NETWORK, *_CODES, *_UNIT, *_ROWS],
    "sequence/issue.py": [
        *_SEQUENCER,
        *_MAPS,
        *_BATCHES,
        *_NETWORK,
        *_HOSTILE,
        *_CODES,
        *_SUMS,
        *_UNIT,
        *_VALUES,
        *_SCALED,
        *_ROWS,
        *_STORED,
    ],
    "sequence/loops.py": [*_NEST, *_NETWORK, *_CODES, *_SUMS, *_ROWS, *_STORED],
    "sequence/moves.py": [*_NEST, *_MAPS, *_NETWORK, *_CODES],
    "sequence/nest.py": [*_NEST, *_NETWORK, *_CODES, *_SUMS, *_UNIT, *_VALUES, *_ROWS, *_STORED],
    "sequence/operands.py": [*_SEQUENCER, *_MAPS, *_NETWORK, *_HOSTILE, *_CODES],
    "sequence/padding.py": [*_NEST, *_MAPS, *_CODES],
    "sequence/program_memory.py": [
        "tests/hw/test_program_memory.py",
        *_MEMORIES,
        *_BAKED,
        *_NETWORK,
        *_HOSTILE,
    ],
    "sequence/readout.py": [*_WAITS, *_SEQUENCER, *_BATCHES, *_ONE_PORT],
    "sequence/sequencer.py": [*_SEQUENCER, *_MAPS, *_BATCHES, *_NETWORK, *_HOSTILE, *_UNIT],
    "shells/framed.py": [*_FRAMED, *_BAKED, *_HOSTILE],
    **dict.fromkeys(
        [f"shells/stream/{part}.py" for part in ("feeder", "inquiry", "scores", "shell")], _STREAM
    ),
    "shells/pins.py": _EXPORT,
    "shells/uart.py": [*_FRAMED, "tests/boards/test_targets.py -k lights", *_EXPORT],
    "shells/sim.py": ["tests/hw/test_driver.py::test_uart_link_gives_the_same_scores", *_BAKED],
    "sequence/slices.py": [*_NETWORK, *_MAPS, *_CODES, *_SUMS],
    "sequence/starts.py": [*_WAITS, *_NETWORK],
    "sequence/turns.py": [*_BATCHES, *_MAPS, *_NETWORK, *_REQUESTS],
}
"""Files below the gateware's package; for each, tests in the order in which they run."""

LEFT_OUT = {
    "bench": "measures the gateware, on the host",
    "campaigns": "tries the gateware, on the host",
    "cli.py": "commands, on the host",
    "export": "writes the gateware as Verilog, on the host",
    "shells/baked.py": "compiles a network, on the host",
    "given.py": "declares payloads: names, in which nothing can be changed",
    "memory/ports.py": "declares payloads: names, in which nothing can be changed",
    "memory/stores/port.py": "declares payloads: names, in which nothing can be changed",
    "memory/stores/flash_pins.py": "declares pins: names, in which nothing can be changed",
    "memory/stores/kinds.py": "a table of stores, in which nothing can be changed",
    "memory/stores/sdram_chips.py": "figures of datasheets, which the model asks for as well",
    "web": "a page with the simulated device, on the host; tests/web compare what it shows with golden",
    "sim": "engines that run the gateware, which their own tests compare with each other",
}
"""Files and folders without gateware, and what they are."""

MORE = [
    "tests/hw/test_core.py",
    "tests/hw/test_loader.py",
    "tests/hw/test_conv.py -k not 32",
    "tests/hw/test_driver.py -k not 32",
    "tests/hw/test_baked.py",
    "tests/hw/test_hostile.py",
    "tests/formal",
]
"""What survivors are tried on as well: all that is slow."""

ALL = list(dict.fromkeys(test for tests in [*PLAN.values(), MORE[:5]] for test in tests))
