//! What happens to nodes, to the network and to servers.
use super::{NODES, Node, Server, World};

impl World {
    /// Something happens to a node, to the network or to a server.
    pub(super) fn trouble(&self) {
        let node = usize::try_from(self.draw(NODES as u64)).expect("few");
        let caller = self.caller(node);
        match self.draw(20) {
            0..3 => {
                self.met("kills");
                self.kill_now(caller, "killed", true);
            }
            3 => {
                self.met("machines lost");
                self.kill_now(caller, "its machine is gone", false);
            }
            4..8 => {
                let server = [Server::Log, Server::Ledger][usize::from(self.draw(2) == 0)];
                self.say(|| format!("node {node} is cut off from the {server:?}"));
                self.met("partitions");
                self.states.borrow_mut()[node].cut[server as usize] = true;
            }
            8 => {
                self.met("nodes apart");
                self.states.borrow_mut()[node].is_apart = true;
            }
            9..15 => self.heal(node),
            15 => {
                self.met("restarts of PostgreSQL");
                self.say(|| "PostgreSQL restarts".to_owned());
                self.postgres.borrow_mut().restart();
            }
            16 => {
                self.met("restarts of the log");
                self.say(|| "the log's server restarts".to_owned());
                self.redis.borrow_mut().restart();
                self.topic.borrow_mut().forget_producers();
            }
            17 => {
                self.met("memory short");
                let room = 700 + usize::try_from(self.draw(3_000)).expect("few");
                self.redis.borrow_mut().room = Some(room);
            }
            18 => self.redis.borrow_mut().room = None,
            _ => self.hand_over(node),
        }
    }

    fn heal(&self, node: usize) {
        let state = &mut self.states.borrow_mut()[node];
        (state.cut, state.is_apart) = ([false; 3], false);
    }

    /// A node is told to stop, and starts again.
    fn hand_over(&self, node: usize) {
        let Some(mut acting) = self.nodes.borrow_mut()[node].take() else { return };
        let caller = self.caller(node);
        if self.lives(caller) {
            self.met("hand-overs");
            let before = self.current.replace(Some(caller));
            acting.stop(self, caller);
            drop(acting);
            self.kill(caller, "told to stop", true);
            self.current.set(before);
        }
        self.nodes.borrow_mut()[node] = Some(Node::new(node));
    }

    /// Ends all faults.
    pub(super) fn calm(&self) {
        self.is_calm.set(true);
        (0..NODES).for_each(|node| self.heal(node));
        self.redis.borrow_mut().room = None;
    }

    /// Loses the end of the log, if it is known to an owner that has counted it.
    pub(super) fn lose_the_end(&self) -> bool {
        self.collect();
        let nodes = self.nodes.borrow();
        let is_counted = |node: &Node| node.has_counted_all();
        let owner = nodes.iter().flatten().find(|node| self.lives(self.caller(node.number)) && is_counted(node));
        let Some(owner) = owner else { return false };
        let counted = owner.counted();
        if self.is_kafka {
            let keep = (self.topic.borrow().end() - 1 - self.draw(3).cast_signed()).max(1);
            // The record at this offset is the last one that is kept.
            if keep.unsigned_abs() > counted {
                return false;
            }
            self.topic.borrow_mut().lose(keep);
        } else {
            self.redis.borrow_mut().lose(1 + usize::try_from(self.draw(3)).expect("few"));
        }
        self.say(|| format!("the log loses its end, of which {counted} is counted"));
        self.met("lost ends");
        self.flights.borrow_mut().clear();
        self.lost_until.set(Some(counted));
        true
    }
}
