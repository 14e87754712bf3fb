"""The fault matrix: what is played by real daemons in memory, and what other tests show."""

from __future__ import annotations

from .aggregators import AGGREGATORS_FAULTS
from .hospitals import HOSPITALS_FAULTS
from .surroundings import WORLD_FAULTS

PLAYED = {
    "a hospital": HOSPITALS_FAULTS,
    "the first aggregator": AGGREGATORS_FAULTS,
    "store, chain or disk": WORLD_FAULTS,
}

# Faults of one adapter, or of a whole machine, and the tests that show how each ends.
SHOWN_ELSEWHERE: dict[str, tuple[str, ...]] = {
    "a transaction of ours is stuck": (
        "tests/test_chain.py::test_a_stuck_transaction_of_an_earlier_run_is_replaced_by_one_that_pays_more",
    ),
    "there is a gap in our nonces": (
        "tests/test_chain.py::test_transactions_of_an_earlier_run_behind_a_gap_block_nothing",
    ),
    "two processes send as one account": (
        "tests/test_chain.py::test_two_processes_of_one_account_do_not_lose_a_call",
    ),
    "gas costs a fortune": (
        "tests/test_chain.py::test_while_gas_costs_more_than_we_pay_nothing_is_sent_and_the_setting_is_named",
    ),
    "a node of the chain lies about a block, its time or its events": (
        "tests/test_witnesses.py::test_a_node_that_shows_another_final_block_is_named_with_the_one_it_contradicts",
        "tests/test_witnesses.py::test_a_node_that_lies_about_the_time_of_a_block_is_named",
        "tests/test_witnesses.py::test_a_node_that_hides_an_event_is_noticed_whichever_it_is",
    ),
    "a node of the chain falls silent": (
        "tests/test_witnesses.py::test_when_the_first_node_falls_silent_the_next_one_reads_and_sends",
    ),
    "the chain was rewritten while we were away": (
        "tests/test_witnesses.py::test_a_reorganisation_while_we_were_away_is_noticed_and_says_what_to_do",
    ),
    "forks in every phase of a study": (
        "tests/end_to_end/test_reorganisations.py::test_everybody_ends_where_an_undisturbed_run_ends",
    ),
    "the ledger holds an unlawful event": (
        "tests/aggregator/test_conductor.py::test_an_unlawful_ledger_stops_the_service",
    ),
    "the chain is away from one hospital for hours, on Anvil": (
        "tests/faults/test_processes.py::test_a_chain_that_is_away_for_hours_is_waited_for",
    ),
    "a disk is full or cannot be written, or the clock is wrong by a day, on Anvil": (
        "tests/faults/test_processes.py::test_what_befalls_a_machine_costs_a_word_with_people_and_nothing_else",
    ),
    "our clock is wrong": (
        "tests/node/test_duty.py::test_block_time_and_not_the_clock_on_the_wall_ends_a_window",
    ),
    "a block of the store was altered, cut short, grown or is endless": (
        "tests/test_directory_store.py::test_one_altered_byte_in_any_block_is_found_before_it_is_used",
        "tests/test_directory_store.py::test_a_block_cut_short_or_grown_is_found",
        "tests/test_directory_store.py::test_an_endless_block_is_the_stores_fault",
        "tests/test_ipfs.py::test_an_endless_answer_is_cut_off",
    ),
    "the store's disk is full in the middle of a write": (
        "tests/test_directory_store.py::test_a_disk_that_is_full_in_the_middle_of_a_write_leaves_nothing_behind",
    ),
    "the journal was damaged": (
        "tests/node/test_journal.py::test_a_journal_that_was_damaged_while_open_is_refused",
    ),
    "an old backup of the journal is brought back": (
        "tests/node/test_journal.py::test_a_backup_copied_back_is_found_out_by_what_the_ledger_shows",
    ),
    "the machine is lost, and a new one restored from the backup of its keys": (
        "tests/node/test_restored.py::test_a_restored_node_gives_nothing_more_in_the_round_and_everything_in_the_next",
    ),
}
