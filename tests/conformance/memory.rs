//! A store in memory, which tests stand on.

use drctl::store::testing::memory::MemoryStore;

use crate::suite::conforms;
use crate::support::Outcome;

struct Stage {
    store: MemoryStore,
}

async fn open(case: &str) -> Outcome<Stage> {
    Ok(Stage { store: MemoryStore::new(case) })
}

conforms! { open:
    what_is_written_is_read_back,
    a_body_that_is_not_the_one_it_was_signed_as_is_refused,
    metadata_comes_back_as_given,
    what_is_not_there_is_said_to_be_not_there,
    an_object_is_not_overwritten,
    one_of_many_writers_at_once_succeeds,
    a_change_by_someone_else_is_noticed,
    parts_may_come_in_any_order,
    an_aborted_upload_leaves_nothing,
    uploads_on_their_way_can_be_found_and_ended,
    an_object_may_be_empty,
    a_short_answer_is_an_error,
    a_long_listing_is_whole_and_sorted,
    keys_may_have_any_letters,
    what_is_no_key_is_refused,
    many_objects_are_deleted_at_once,
    an_object_has_one_version,
    what_is_not_locked_cannot_be_locked_longer,
}
