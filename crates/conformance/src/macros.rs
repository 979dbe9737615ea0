//! The list of checks, which is written once, and what is made of it.

/// Calls a macro with the names of all checks: `for_each_check!([callback] arguments)` is
/// `callback!(arguments; name, name, …)`.
#[doc(hidden)]
#[macro_export]
macro_rules! for_each_check {
    ([$($callback:tt)+] $($arguments:tt)*) => {
        $($callback)+! { $($arguments)*;
            // create
            a_created_seat_runs_and_answers,
            creating_again_finds_the_same,
            creating_again_while_it_starts_finds_the_same,
            another_spelling_of_the_image_is_the_same,
            another_image_is_a_conflict,
            another_environment_is_a_conflict,
            other_limits_are_a_conflict,
            another_api_key_is_a_conflict,
            a_conflict_names_every_difference,
            creating_starts_a_stopped_seat,
            // list
            a_list_is_in_numeric_order,
            a_list_keeps_to_its_scope,
            get_sees_what_list_sees,
            // destroy
            destroy_leaves_nothing,
            destroying_what_is_not_there_is_success,
            kept_data_comes_back,
            removed_data_is_gone,
            destroy_workshop_removes_everything,
            destroy_workshop_can_keep_data,
            a_stubborn_seat_is_destroyed,
            // restart
            a_restarted_service_knows_every_seat,
            a_service_killed_in_the_middle_leaves_nothing_unknown,
            // trouble
            a_missing_image_leaves_nothing,
            an_image_that_exits_tells_why,
            a_mute_image_becomes_an_error,
            a_slow_image_is_waited_for,
            a_foreign_instance_is_left_alone,
            a_foreign_network_is_left_alone,
            a_foreign_volume_is_left_alone,
            // concurrency
            fifty_creates_of_one_seat_make_one,
            a_class_converges_and_stays,
            two_workshops_have_disjoint_networks,
            the_last_word_of_two_hundred_counts,
            a_destroy_overtakes_a_class,
            two_services_share_a_host,
            // lifecycle
            a_cancelled_create_ends_one_way_or_the_other,
            a_drain_lets_running_work_end,
            // inside
            no_secret_gets_out,
            the_environment_arrives_unchanged,
            the_limits_arrive,
            seats_cannot_reach_each_other,
        }
    };
}

/// Makes one `#[test]` of every check, in a module `conformance_suite`.
///
/// Attributes before the argument go to every test, such as `#[ignore = "needs an engine"]`.
///
/// The argument is the path of a function `async fn() -> Result<H, conformance::Stop>` with `H:` [`Harness`]; it
/// is called once per check, on that check's own runtime. A [`Stop::Skip`] from it skips the check.
///
/// libtest has no word for a test that found out that it cannot run, so a skipped check prints a line `SKIPPED
/// conformance {provider} {check}: {reason}` and, when the environment variable `CONFORMANCE_REPORT` names a file,
/// every verdict is appended to it as `verdict TAB provider TAB check TAB reason`, for whoever counts.
///
/// [`Harness`]: crate::Harness
/// [`Stop::Skip`]: crate::Stop::Skip
#[macro_export]
macro_rules! suite {
    ($(#[$attribute:meta])* $make:path) => {
        mod conformance_suite {
            use super::*;
            $crate::for_each_check!([$crate::suite_tests] [$(#[$attribute])*] $make);
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! suite_tests {
    ($attributes:tt $make:path; $($name:ident,)*) => {$(
        $crate::suite_test!($attributes $name $make);
    )*};
}

#[doc(hidden)]
#[macro_export]
macro_rules! suite_test {
    ([$(#[$attribute:meta])*] $name:ident $make:path) => {
        #[test]
        $(#[$attribute])*
        fn $name() {
            if let Err(why) = $crate::test_one(stringify!($name), $make) {
                panic!("{why}");
            }
        }
    };
}

/// Fails the check when the condition does not hold.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::Stop::Fail(format!($($message)+)));
        }
    };
}

/// Fails the check when the two differ.
macro_rules! ensure_eq {
    ($left:expr, $right:expr, $($what:tt)+) => {
        match (&$left, &$right) {
            (left, right) => ensure!(left == right, "{}: {left:?} is not {right:?}", format!($($what)+)),
        }
    };
}
