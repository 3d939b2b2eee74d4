//! Every case, and the rules it holds Muster to.

mod cap;
mod cfg;
mod client;
mod cmd;
mod comp;
mod conn;
mod cust;
mod evo;
mod http;
mod life;
mod limits;
mod live;
mod msg;
mod overload;
mod pkg;
mod sec;
mod seq;
mod start;
mod stat;
mod tel;
mod uid;
mod ws;

use std::pin::Pin;
use std::sync::Arc;

use crate::fleet::{Fleet, Form};

/// A case as it runs.
type Run = fn(Arc<Fleet>) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// One case.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// Rows of the table that it covers.
    pub(crate) rows: &'static [&'static str],
    /// The only form that can show it; none if both can.
    pub(crate) only: &'static [Form],
    pub(crate) run: Run,
}

impl Case {
    /// Whether it runs on a form.
    pub(crate) fn runs_on(&self, form: Form) -> bool {
        self.only.is_empty() || self.only.contains(&form)
    }
}

macro_rules! cases {
    ($($module:ident :: $name:ident => [$($row:literal),+] $(on $form:ident)?),* $(,)?) => {
        /// In the order of their rules.
        pub(crate) const ALL: &[Case] = &[$(Case {
            name: stringify!($name),
            rows: &[$($row),+],
            only: &[$(Form::$form)?],
            run: |fleet| Box::pin(async move { $module::$name(&fleet).await }),
        }),*];
    };
}

cases! {
    http::gen_01_both_transports_on_one_url => ["GEN-01", "GEN-04", "HTTP-01", "HTTP-02"],
    client::http_01_a_body_may_come_in_chunks => ["HTTP-01"],
    http::gen_02_other_paths_are_not_there => ["GEN-02"],
    client::gen_02_a_query_is_ignored => ["GEN-02"],
    start::gen_03_agents_connect_to_port_4320 => ["GEN-03"] on Embedded,
    ws::gen_05_agents_on_one_socket_are_apart => ["GEN-05"],
    http::gen_06_media_type_in_any_spelling => ["GEN-06"],
    http::gen_07_neither_post_nor_upgrade => ["GEN-07"],
    ws::ws_01_only_binary_messages_with_a_zero_header => ["WS-01", "WS-02"],
    ws::ws_03_another_header_is_malformed => ["WS-03", "ERR-01", "ERR-02"],
    client::ws_03_a_message_without_a_header_is_malformed => ["WS-03"],
    ws::ws_04_any_spelling_of_zero_is_a_header => ["WS-04"],
    ws::ws_05_an_empty_message_is_legal => ["WS-05"],
    ws::ws_07_over_the_limit_closes_with_1009 => ["WS-06", "WS-07"],
    limits::ws_08_what_is_too_large_is_not_sent =>
        ["WS-08", "WS-09", "HTTP-06", "HTTP-07", "HTTP-16"],
    limits::ws_10_the_limit_on_messages_can_be_set => ["WS-06", "WS-10", "HTTP-05", "HTTP-08"],
    ws::ws_11_an_offer_needs_no_question => ["WS-11", "CFG-06"],
    ws::ws_13_goodbye_and_close_are_answered => ["WS-12", "WS-13", "LIFE-01"],
    ws::ws_14_nothing_is_said_before_the_agent => ["WS-14"],
    ws::ws_15_text_is_refused => ["WS-15"],
    ws::ws_17_no_extension_is_negotiated => ["WS-17"],
    ws::ws_18_fragments_and_what_comes_between => ["WS-18"],
    http::http_03_gzip_requests => ["HTTP-03"],
    http::http_04_gzip_replies_where_wanted => ["HTTP-04"],
    http::http_05_a_bomb_is_refused => ["HTTP-05"],
    limits::http_06_what_could_never_be_sent_is_not_taken => ["HTTP-06", "WS-08"],
    http::http_09_uid_header_is_optional_and_body_wins => ["HTTP-09"],
    http::http_10_an_offer_waits_for_the_poll => ["HTTP-10", "HTTP-11"],
    http::http_12_connections_mean_nothing => ["HTTP-12"],
    http::http_13_two_polls_at_once_are_both_answered => ["HTTP-13"],
    http::http_14_unknown_or_corrupt_encoding => ["HTTP-14"],
    http::http_15_no_poll_is_held_back => ["HTTP-15"],
    msg::msg_01_every_message_is_answered => ["MSG-01", "MSG-02", "HB-06"],
    msg::msg_03_the_uid_comes_back_as_it_was => ["MSG-03", "UID-02"],
    client::msg_03_errors_carry_the_uid_too => ["MSG-03"],
    msg::msg_05_success_has_no_error => ["MSG-05"],
    msg::msg_06_an_error_stands_alone => ["MSG-04", "MSG-06"],
    msg::msg_07_twice_the_same_is_answered_twice => ["MSG-07", "SEQ-08"],
    msg::msg_08_only_the_newest_offer_counts => ["MSG-08"],
    msg::msg_09_the_same_message_may_get_another_answer_later => ["MSG-09"],
    msg::msg_10_an_idle_agent_is_left_alone => ["MSG-10"],
    overload::msg_11_what_was_answered_survives_a_crash => ["MSG-11"],
    overload::msg_11_nothing_is_acknowledged_without_the_store =>
        ["MSG-04", "MSG-11", "ERR-04", "ERR-06", "ERR-08"] on Cluster,
    uid::uid_01_other_lengths_are_bad_requests => ["UID-01"],
    client::uid_01_a_uid_in_letters_is_a_bad_request => ["UID-01"],
    uid::uid_03_a_uid_on_request => ["UID-03", "UID-04"],
    uid::uid_05_an_agent_goes_on_under_its_new_uid => ["UID-05"],
    uid::uid_06_the_second_of_two_live_agents_gets_another => ["UID-06", "UID-07"],
    uid::uid_09_no_uid_is_given_twice => ["UID-09"],
    uid::uid_10_uids_are_shown_as_text => ["UID-10"],
    seq::seq_01_a_gap_asks_for_full_state => ["SEQ-01"],
    seq::seq_02_what_is_left_out_stays => ["SEQ-02"],
    seq::seq_03_what_is_there_replaces => ["SEQ-03"],
    seq::seq_04_a_stranger_is_asked_for_everything => ["SEQ-04"],
    seq::seq_05_a_reconnect_elsewhere_needs_nothing => ["SEQ-05"],
    seq::seq_06_a_first_report_from_zero => ["SEQ-06"],
    seq::seq_07_starting_over_is_no_error => ["SEQ-07"],
    client::seq_08_two_messages_of_one_number_are_both_taken => ["SEQ-08"],
    seq::seq_09_a_thousand_in_a_row_are_in_order => ["SEQ-09"],
    seq::seq_10_a_stuck_counter_is_asked_only_so_often => ["SEQ-10"],
    seq::seq_12_a_full_report_forgets_what_it_leaves_out => ["SEQ-12"],
    cap::cap_01_the_first_reply_declares => ["CAP-01", "CAP-02", "CAP-03", "CFG-12"],
    cap::cap_04_what_an_agent_lacks_is_not_used => ["CAP-04", "CFG-01"],
    client::cap_04_every_capability_at_once => ["CAP-04"],
    cap::cap_05_capabilities_change_at_any_time => ["CAP-05"],
    cap::cap_06_unknown_bits_are_kept => ["CAP-06"],
    cap::cap_07_only_what_is_there_is_declared => ["CAP-07", "PKG-19"],
    cap::cap_08_zero_means_unchanged => ["CAP-08"],
    stat::stat_01_every_kind_of_value_round_trips => ["STAT-01"],
    stat::stat_02_selectors_see_attributes => ["STAT-02"],
    stat::stat_03_a_deep_health_tree_is_kept => ["STAT-03", "STAT-04"],
    stat::stat_05_effective_config_is_the_agents_own => ["STAT-05"],
    stat::stat_06_effective_config_is_not_waited_for => ["STAT-06"],
    client::stat_06_parts_may_follow_later => ["STAT-06"],
    stat::stat_07_bodies_are_bytes_and_keys_may_be_empty => ["STAT-07", "STAT-08"],
    stat::stat_09_absurd_messages_are_refused => ["STAT-09"],
    cfg::cfg_02_another_hash_gets_the_right_config => ["CFG-02", "CFG-03"],
    client::cfg_02_no_status_and_an_empty_one_are_offered_the_config => ["CFG-02"],
    cfg::cfg_04_the_hash_is_there_and_is_the_contents => ["CFG-04", "CFG-13"],
    cfg::cfg_05_an_offer_is_complete => ["CFG-05"],
    cfg::cfg_07_every_status_is_shown => ["CFG-07"],
    cfg::cfg_08_a_failure_is_not_offered_again => ["CFG-08"],
    cfg::cfg_09_who_reports_nothing_is_told_once => ["CFG-09"],
    cfg::cfg_10_an_ignored_offer_is_not_repeated => ["CFG-10"],
    cfg::cfg_11_nothing_assigned_is_not_an_empty_config => ["CFG-11"],
    conn::conn_01_each_class_needs_its_bit => ["CONN-01"],
    conn::conn_02_the_hash_is_over_everything_in_force => ["CONN-02", "CONN-03"],
    conn::conn_04_another_hash_gets_the_right_settings => ["CONN-04"],
    conn::conn_05_what_no_agent_could_use_is_refused =>
        ["CONN-05", "CONN-09", "CONN-10", "CONN-11"],
    conn::conn_06_each_offer_of_a_class_is_complete =>
        ["CONN-05", "CONN-06", "CONN-07", "CONN-18", "HB-02"],
    conn::conn_08_other_connections_are_partial => ["CONN-08"],
    tel::conn_13_an_agent_changes_its_connection_and_stays_itself =>
        ["CONN-13", "CONN-15", "CONN-21"],
    conn::conn_14_a_failure_is_shown_and_not_offered_again => ["CONN-14", "CONN-16", "TEL-04"],
    tel::conn_14_an_agent_falls_back => ["CONN-13", "CONN-14"],
    conn::conn_19_settings_are_declared => ["CONN-19"],
    conn::conn_20_secrets_are_told_to_agents_alone => ["CONN-20"],
    conn::conn_20_secrets_are_sealed_in_redis_and_on_the_bus => ["CONN-20"] on Cluster,
    conn::conn_21_who_forgets_is_not_sent_away_again => ["CONN-21", "TEL-05"],
    tel::tel_01_the_first_reply_names_the_backend => ["TEL-01", "TEL-02", "TEL-03", "TEL-04"],
    tel::tel_05_a_new_session_is_told_once_unless_it_knows => ["TEL-05", "TEL-03"],
    tel::hb_02_the_interval_is_the_servers => ["HB-02", "HB-05"],
    live::hb_01_silence_on_a_live_socket_is_no_absence => ["HB-01", "HB-04", "HB-07", "WS-16"],
    live::hb_03_any_message_is_a_sign_of_life => ["HB-03", "HB-05"],
    life::life_02_a_lost_socket_is_a_lost_agent => ["LIFE-02"],
    life::life_03_goodbye_by_poll => ["LIFE-03"],
    client::life_03_goodbye_twice_with_a_heartbeat_between => ["LIFE-03"],
    life::life_05_a_first_message_may_say_nothing => ["LIFE-05"],
    life::life_06_an_old_socket_closes_late => ["LIFE-04", "LIFE-06"],
    life::life_06_a_gateway_that_slept_through_it_marks_nobody_offline => ["LIFE-06"] on Cluster,
    life::life_07_a_drain_costs_no_full_state => ["LIFE-07", "WS-12"],
    life::life_08_the_last_message_before_a_close_counts => ["LIFE-08"],
    msg::err_03_no_error_without_a_question => ["ERR-03", "ERR-09"],
    overload::err_04_without_room_agents_are_told_to_come_back =>
        ["ERR-03", "ERR-04", "ERR-05", "ERR-06", "ERR-07", "ERR-08", "ERR-09"],
    overload::err_10_a_full_gateway_refuses_the_handshake => ["ERR-06", "ERR-07", "ERR-10"],
    msg::err_11_statuses_of_bad_posts => ["ERR-11"],
    evo::evo_01_unknown_fields_are_ignored => ["EVO-01"],
    cap::evo_02_no_bit_of_later_versions_is_set => ["EVO-02"],
    evo::evo_03_numbers_on_the_wire_are_the_published_ones => ["EVO-03"],
    evo::evo_04_unknown_fields_reach_the_bus => ["EVO-04"] on Cluster,
    comp::comp_01_only_who_reports_components_is_asked => ["COMP-01"],
    comp::comp_02_an_unknown_hash_is_asked_about => ["COMP-02", "COMP-04", "COMP-05"],
    comp::comp_03_lists_are_known_by_their_hash => ["COMP-03"],
    comp::comp_06_details_are_kept_and_shown => ["COMP-06"],
    comp::comp_07_nobody_is_believed_about_others_who_disagree => ["COMP-07"],
    comp::comp_07_who_does_not_answer_is_asked_no_more => ["COMP-07"],
    stat::otel_01_agents_are_found_by_conventional_attributes => ["OTEL-01"],
    cust::cust_01_custom_capabilities_replace_the_list => ["CUST-01"],
    cust::cust_02_the_server_names_its_own_first => ["CUST-02"],
    cust::cust_02_nothing_is_named_where_there_is_nothing => ["CUST-02"],
    cust::cust_03_names_are_compared_as_a_whole => ["CUST-03"],
    cust::cust_04_only_declared_capabilities_are_spoken_to => ["CUST-04"],
    cust::cust_05_an_unknown_custom_message_is_acknowledged => ["CUST-05"],
    cust::cust_06_one_for_each_message => ["CUST-06"],
    cust::cust_07_messages_come_in_order_and_not_after_their_time => ["CUST-07"],
    cust::cust_07_what_agents_say_comes_in_order_and_once => ["CUST-07"],
    cmd::cmd_01_only_who_accepts_it_is_told_to_restart => ["CMD-01"],
    cmd::cmd_02_a_command_travels_alone => ["CMD-02"],
    cmd::cmd_03_a_restart_is_there_without_a_value => ["CMD-03"],
    cmd::cmd_04_who_polls_is_told_once => ["CMD-04"],
    cmd::cmd_04_who_comes_back_is_not_told_again => ["CMD-04"],
    pkg::pkg_01_who_takes_packages_is_told_all_of_them_with_their_hashes =>
        ["PKG-01", "PKG-02", "PKG-05", "PKG-06", "PKG-07", "PKG-08", "PKG-09", "PKG-11"],
    pkg::pkg_03_a_stale_hash_brings_the_offer_and_the_right_one_does_not =>
        ["PKG-03", "PKG-07", "PKG-13"],
    pkg::pkg_04_files_fit_the_agent_and_a_set_is_whole_or_not_offered => ["PKG-04"],
    pkg::pkg_09_an_agent_swaps_its_files_for_real =>
        ["PKG-09", "PKG-13", "PKG-15", "PKG-18"],
    pkg::pkg_14_statuses_are_shown_and_what_failed_is_not_offered_again =>
        ["PKG-14", "PKG-15", "PKG-18"],
    pkg::pkg_17_broken_statuses_are_acknowledged => ["PKG-16", "PKG-17"],
    pkg::pkg_20_what_makes_no_sense_is_refused_with_its_field => ["PKG-20"],
    sec::conn_12_an_agent_exchanges_its_token_for_its_own => ["CONN-12", "SEC-04"],
    sec::sec_01_strangers_get_401_and_no_record => ["SEC-01"],
    sec::sec_04_who_enrolls_is_given_its_own_and_comes_with_it =>
        ["SEC-04", "SEC-10", "CONN-12"],
    sec::sec_05_who_is_revoked_goes_at_once_and_alone => ["SEC-05", "SEC-10"],
    sec::sec_09_who_waits_is_told_nothing => ["SEC-03", "SEC-09"],
}
