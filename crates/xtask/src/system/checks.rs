//! The checks: which there are, on which machine each is run, and in which order.

mod drop_ins;
mod hardening;
mod journal;
mod lifecycle;
mod limits;
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
            ("a crash loop ends", lifecycle::crash_loop),
            ("50 restarts in a row fail no round", restart::fifty),
            ("25 restarts under a crowd fail nobody", restart::crowded),
            ("5,000 connections stay within the unit's limits", limits::many_connections),
            ("without its sockets, servidor binds for itself", lifecycle::without_sockets),
            ("the drop-ins of the README do what it says", drop_ins::all),
        ],
    ),
    (
        "hardening",
        &[
            ("dpkg -i installs, enables and starts both", packages::installed),
            ("the units are as tight as promised", hardening::scores),
            ("what the units forbid is forbidden", hardening::forbidden),
            ("the sockets let in this host only", hardening::sockets),
        ],
    ),
    (
        "packages",
        &[
            ("what is there before", packages::before),
            ("dpkg -i installs, enables and starts both", packages::installed),
            ("an upgrade keeps the changed file, and fails no round", packages::upgraded),
            ("a removal stops both, and leaves their settings", packages::removed),
            ("a purge leaves nothing", packages::purged),
        ],
    ),
];
