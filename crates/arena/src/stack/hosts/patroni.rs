//! What Patroni tells and does over its REST API. See "Patroni REST API" in its documentation.

use std::fmt;
use std::time::Duration;

use anyhow::Context;
use serde::Deserialize;
use serde_json::json;
use ureq::Agent;

use super::Host;

/// Where each node's Patroni answers.
pub(super) const PORT: u16 = 8008;

const PATIENCE: Duration = Duration::from_secs(1);

/// A planned change waits for the node that it concerns.
const LONG_PATIENCE: Duration = Duration::from_secs(30);

/// What a node is to the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The primary.
    Leader,
    /// A standby that each commit waits for.
    SyncStandby,
    /// Another standby.
    #[serde(other)]
    Replica,
}

/// A node as the cluster sees it.
#[derive(Clone, Debug, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// What its PostgreSQL does, in Patroni's words.
    pub state: String,
    /// Which of the histories of the database it is on, counted by changes of the primary.
    #[serde(default)]
    pub timeline: Option<u64>,
}

impl Member {
    /// Whether its PostgreSQL does what it should.
    pub fn is_well(&self) -> bool {
        ["running", "streaming"].contains(&self.state.as_str())
    }
}

impl fmt::Display for Member {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            Role::Leader => "primary",
            Role::SyncStandby => "synchronous standby",
            Role::Replica => "standby",
        };
        write!(out, "{role}, {}", self.state)?;
        self.timeline.map_or(Ok(()), |timeline| write!(out, ", timeline {timeline}"))
    }
}

/// All nodes, as one of them sees them; none where it does not answer.
pub(super) fn members(node: Host) -> Option<Vec<Member>> {
    #[derive(Deserialize)]
    struct Cluster {
        members: Vec<Member>,
    }
    let mut answer = agent(PATIENCE).get(url(node, "cluster")).call().ok()?;
    let text = answer.body_mut().read_to_string().ok()?;
    Some(serde_json::from_str::<Cluster>(&text).ok()?.members)
}

/// Whether a node is the primary, by its own account.
pub(super) fn is_primary(node: Host) -> bool {
    agent(PATIENCE).get(url(node, "primary")).call().is_ok()
}

/// Whether there are a primary and a synchronous standby, and all follow the primary's history.
pub(super) fn is_whole(members: &[Member]) -> bool {
    let timeline = members.iter().find(|member| member.role == Role::Leader).and_then(|leader| leader.timeline);
    let has_standby = members.iter().any(|member| member.role == Role::SyncStandby);
    let follows = |member: &Member| member.is_well() && member.timeline == timeline;
    timeline.is_some() && has_standby && members.len() == super::NODES.len() && members.iter().all(follows)
}

/// Has a standby become the primary in place of the one that is.
pub(super) fn switch_over(primary: Host, standby: Host) -> anyhow::Result<()> {
    let wish = json!({"leader": primary.name, "candidate": standby.name});
    agent(LONG_PATIENCE).post(url(primary, "switchover")).send(wish.to_string()).context("Patroni's switchover")?;
    Ok(())
}

/// Has a node's PostgreSQL end and start again.
pub(super) fn restart(node: Host) -> anyhow::Result<()> {
    agent(LONG_PATIENCE).post(url(node, "restart")).send("{}").context("Patroni's restart")?;
    Ok(())
}

fn url(node: Host, path: &str) -> String {
    format!("http://{}:{PORT}/{path}", node.address())
}

fn agent(patience: Duration) -> Agent {
    Agent::config_builder().timeout_global(Some(patience)).build().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, role: &str, state: &str, timeline: u64) -> Member {
        serde_json::from_value(json!({"name": name, "role": role, "state": state, "timeline": timeline, "lag": 0}))
            .unwrap()
    }

    #[test]
    fn a_cluster_is_whole_with_a_primary_a_synchronous_standby_and_nobody_behind() {
        let members = |roles: [(&str, &str, u64); 3]| -> Vec<Member> {
            roles.into_iter().map(|(role, state, timeline)| member("pg", role, state, timeline)).collect()
        };
        let (leader, sync) = (("leader", "running", 2), ("sync_standby", "running", 2));
        assert!(is_whole(&members([leader, sync, ("replica", "running", 2)])));
        assert!(is_whole(&members([leader, sync, ("replica", "streaming", 2)])));
        assert!(!is_whole(&members([leader, sync, ("replica", "running", 1)])));
        assert!(!is_whole(&members([leader, sync, ("replica", "starting", 2)])));
        assert!(!is_whole(&members([leader, ("replica", "running", 2), ("replica", "running", 2)])));
        assert!(!is_whole(&members([leader, sync, ("replica", "running", 2)])[..2]));
    }
}
