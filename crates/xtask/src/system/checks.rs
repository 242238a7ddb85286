//! The checks: which there are, on which machine each is run, and in which order.

mod drop_ins;
mod handover;
mod hardening;
mod journal;
mod lifecycle;
mod limits;
mod migration;
mod packages;
mod restart;
mod support;

pub(super) use support::undo;

use super::machine::Machine;

/// Returns what it saw, for people; panics when that is wrong. It leaves its machine as it found it.
pub(super) type Check = fn(&Machine) -> String;

/// Each group has a machine to itself; what it tries on the way is gone with it.
pub(super) const GROUPS: &[(&str, &[(&str, Check)])] = &[
    (
        "running daemons",
        &[
            ("dpkg -i installs, enables and starts both", packages::installed),
            ("the journal has rounds in JSON, with priorities", journal::rounds),
            ("only warnings are shown as warnings", journal::warnings),
            ("both show their metrics", journal::metrics),
            ("systemctl status tells the counts", journal::status),
            ("a stop ends in success, and closes the sockets", lifecycle::stop),
            ("a stop may take longer than the unit allows", lifecycle::patient_stop),
            ("a stopped server stays stopped though clients knock", lifecycle::stays_stopped),
            ("a reload applies the file, and a wrong file changes nothing", lifecycle::reload),
            ("a killed daemon comes back", lifecycle::killed),
            ("a hanging daemon is caught by the watchdog", lifecycle::hanging),
            ("a wrong setting ends in 78, once", lifecycle::wrong_setting),
            ("ports that are taken are tried until they are free", lifecycle::taken_ports),
            ("50 restarts in a row fail no round", restart::fifty),
            ("ten kills fail at most the round under way", restart::killed_ten_times),
            ("25 restarts under a crowd fail nobody", restart::crowded),
            ("3,072 connections stay within the unit's limits", limits::many_connections),
            ("servidor runs outside its unit too", lifecycle::by_hand),
            ("the operator's own sockets overrule the settings", handover::overrules),
            ("the drop-ins of the README do what it says", drop_ins::all),
        ],
    ),
    (
        "hardening",
        &[
            ("dpkg -i installs, enables and starts both", packages::installed),
            ("the units are as tight as promised", hardening::scores),
            ("what the units forbid is forbidden", hardening::forbidden),
            ("this host alone is let in, until a stop and a start", hardening::filter),
        ],
    ),
    (
        "upgrade from 0.1.0",
        &[
            ("dpkg -i installs 0.1.0, with its .socket units", migration::old_installed),
            ("an upgrade closes its sockets, and binds them within a second", migration::upgraded),
            ("a downgrade gives them back to systemd", migration::downgraded),
        ],
    ),
    (
        "packages",
        &[
            ("what is there before", packages::before),
            ("dpkg -i installs, enables and starts both", packages::installed),
            ("an upgrade and a downgrade keep the changed file, and fail no round", packages::upgraded),
            ("a removal stops both, and leaves their settings", packages::removed),
            ("a purge leaves nothing", packages::purged),
        ],
    ),
];
