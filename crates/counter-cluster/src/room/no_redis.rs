//! Stands in for `redis.rs` in a build without it: there is no link, so nothing here ever runs.

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use common::events::Action;

use super::Room;
use super::sharing::Sharing;

/// No link to Redis.
pub enum Link {}

/// No node that others know.
pub enum Node {}

/// No refusals: in memory, a click is refused at once.
pub enum Refusals {}

/// Says what to do when a link is asked for.
pub async fn link(sharing: &Sharing) -> common::Result<Option<(Link, Node)>> {
    match sharing.redis.as_deref() {
        None | Some("") => Ok(None),
        Some(_) => Err("this counter-server was built without Redis; build it with \
                        --features redis, or leave out --redis and unset REDIS_URL"
            .into()),
    }
}

impl Node {
    pub async fn start(self, _room: Arc<Room>) -> common::Result<()> {
        match self {}
    }
}

impl Link {
    pub async fn click(&self, _: Action, _: &mut Option<Arc<Refusals>>) -> Result<(), String> {
        match *self {}
    }

    pub fn users_changed(&self) {
        match *self {}
    }

    pub async fn leave(&self) {
        match *self {}
    }
}

impl Refusals {
    pub fn poll(&self, _: &mut Context<'_>) -> Poll<Bytes> {
        match *self {}
    }
}
