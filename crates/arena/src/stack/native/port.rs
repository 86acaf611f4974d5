//! Ports on the loopback address.

use crate::stack::DATABASE_PORT;
use crate::stack::ports::{free_port, port_is_free};

pub(super) fn choose_database_port(wanted: Option<u16>, taken: u16) -> anyhow::Result<u16> {
    if let Some(port) = wanted {
        return Ok(port);
    }
    if DATABASE_PORT != taken && port_is_free(DATABASE_PORT) {
        return Ok(DATABASE_PORT);
    }
    Ok(free_port()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_gets_no_port_that_the_api_has() {
        assert_ne!(choose_database_port(None, DATABASE_PORT).unwrap(), DATABASE_PORT);
        assert_eq!(choose_database_port(Some(7), 8).unwrap(), 7);
    }
}
