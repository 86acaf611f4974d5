//! What a torment does to the hosts of a cluster.

use std::cell::{Cell, RefCell};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;

use super::Body;
use super::plan::{Kind, Spec};
use crate::stack::hosts::{ETCD, Host, Hosts, NODES, PROXY};
use crate::workspace::Workspace;

/// Hosts, and which of them a fault is brought about on.
pub struct Cluster<'a> {
    hosts: Hosts,
    workspace: &'a Workspace,
    concerned: RefCell<Vec<Host>>,
    /// How many nodes of etcd were lost so far: each in turn.
    etcd_lost: Cell<usize>,
}

impl<'a> Cluster<'a> {
    /// Those of a cluster that runs.
    pub fn new(hosts: Hosts, workspace: &'a Workspace) -> Self {
        Self { hosts, workspace, concerned: RefCell::default(), etcd_lost: Cell::new(0) }
    }

    /// Whom a fault concerns, and, where a connection is cut, from whom.
    fn concerned(&self, target: &str) -> anyhow::Result<Vec<Host>> {
        let primary = || self.hosts.primary().context("there is no primary");
        let one = match target {
            "standby" => self.hosts.synchronous_standby().context("there is no synchronous standby")?,
            "haproxy" => PROXY,
            "etcd" => ETCD[self.etcd_lost.replace(self.etcd_lost.get() + 1) % ETCD.len()],
            _ => primary()?,
        };
        let others = match target {
            "primary-etcd" => ETCD.to_vec(),
            "primary-standbys" => NODES.into_iter().filter(|node| *node != one).collect(),
            _ => Vec::new(),
        };
        Ok([vec![one], others].concat())
    }
}

impl Body for Cluster<'_> {
    fn begin(&self, spec: Spec) -> anyhow::Result<Vec<i32>> {
        let concerned = self.concerned(spec.target)?;
        self.concerned.replace(concerned.clone());
        let Some((host, others)) = concerned.split_first() else { bail!("{spec} concerns nobody") };
        match spec.kind {
            Kind::Kill => self.hosts.kill(*host),
            Kind::Stop => self.hosts.signal(*host, Signal::SIGSTOP),
            Kind::Cut => self.hosts.cut(*host, others)?,
            Kind::Restart => self.hosts.restart(*host)?,
            Kind::Switchover => self.hosts.switch_over()?,
            _ => bail!("{spec} is not tried on a cluster"),
        }
        Ok(Vec::new())
    }

    fn end(&self, spec: Spec) -> anyhow::Result<()> {
        let concerned = self.concerned.borrow();
        let Some((host, others)) = concerned.split_first() else { return Ok(()) };
        match spec.kind {
            Kind::Kill => self.hosts.start(*host, self.workspace),
            Kind::Stop => {
                self.hosts.signal(*host, Signal::SIGCONT);
                Ok(())
            }
            Kind::Cut => self.hosts.join(*host, others),
            _ => Ok(()),
        }
    }

    fn is_back(&self, _: Spec, _: &[i32]) -> bool {
        self.is_whole()
    }

    fn is_whole(&self) -> bool {
        self.hosts.is_whole()
    }
}
