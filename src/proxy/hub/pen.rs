//! Who types at a shared line: one at a time, asked for, taken and given.

use uuid::Uuid;

use crate::ids::UserId;
use crate::relay::{Command, Notice, Role};

/// The viewers of a line in the order they came, and which of them types.
#[derive(Debug, Default)]
pub(super) struct Pen {
    people: Vec<Person>,
    holder: Option<Uuid>,
    /// Who asks for it, first come first served.
    asking: Vec<Uuid>,
}

#[derive(Debug)]
struct Person {
    id: Uuid,
    user: UserId,
    /// Whether it may ever type.
    writes: bool,
    /// Who it was last told holds the pen.
    told: Option<Option<Uuid>>,
}

impl Pen {
    /// A viewer comes. A pen that nobody holds is its.
    pub(super) fn arrive(&mut self, id: Uuid, user: UserId, writes: bool) {
        self.people.push(Person { id, user, writes, told: None });
        if writes && self.holder.is_none() {
            self.holder = Some(id);
        }
    }

    /// A viewer goes. Its pen falls to who asked first, else to the only one left who may hold it, else nobody
    /// has it, and whoever types next takes it.
    pub(super) fn leave(&mut self, id: Uuid) {
        self.people.retain(|person| person.id != id);
        self.asking.retain(|other| *other != id);
        if self.holder == Some(id) {
            let mut writers = self.people.iter().filter(|person| person.writes);
            let only = writers.next().map(|person| person.id).filter(|_| writers.next().is_none());
            self.holder = self.next_asker().or(only);
        }
    }

    /// Carries out a wish; a notice for the holder may come of it.
    pub(super) fn command(&mut self, id: Uuid, command: Command) -> Option<(Uuid, Notice)> {
        let asker = self.people.iter().find(|person| person.id == id && person.writes)?;
        match command {
            Command::Ask => match self.holder {
                Some(holder) if holder != id => {
                    let notice = Notice::Asked { user: asker.user.clone() };
                    if !self.asking.contains(&id) {
                        self.asking.push(id);
                    }
                    return Some((holder, notice));
                }
                _ => self.take(id),
            },
            Command::Take => self.take(id),
            Command::Give if self.holder == Some(id) => self.holder = self.next_asker(),
            Command::Give | Command::Break | Command::Resize { .. } | Command::Unknown => {}
        }
        None
    }

    /// The viewer types: a pen that nobody holds is its from now on. Whether that changed anything.
    pub(super) fn type_as(&mut self, id: Uuid) -> bool {
        let takes =
            self.holder.is_none() && self.people.iter().any(|person| person.id == id && person.writes);
        if takes {
            self.take(id);
        }
        takes
    }

    /// Whether what this viewer types goes to the line.
    pub(super) fn may_type(&self, id: Uuid) -> bool {
        self.holder == Some(id)
    }

    /// What this viewer is.
    pub(super) fn role(&self, id: Uuid) -> Role {
        if self.may_type(id) { Role::Writer } else { Role::Watcher }
    }

    /// What each viewer has to be told since the last call.
    pub(super) fn news(&mut self) -> Vec<(Uuid, Notice)> {
        let holder = self.holder;
        let writer = holder.and_then(|holder| self.people.iter().find(|person| person.id == holder));
        let writer = writer.map(|person| person.user.clone());
        let news = self.people.iter_mut().filter(|person| person.told != Some(holder)).map(|person| {
            person.told = Some(holder);
            let role = if holder == Some(person.id) { Role::Writer } else { Role::Watcher };
            (person.id, Notice::Role { role, writer: writer.clone() })
        });
        news.collect()
    }

    fn take(&mut self, id: Uuid) {
        self.holder = Some(id);
        self.asking.retain(|other| *other != id);
    }

    fn next_asker(&mut self) -> Option<Uuid> {
        (!self.asking.is_empty()).then(|| self.asking.remove(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Uuid = Uuid::from_u128(1);
    const B: Uuid = Uuid::from_u128(2);
    const C: Uuid = Uuid::from_u128(3);
    const GUEST: Uuid = Uuid::from_u128(4);

    /// Three who may type and a guest who may not, in this order.
    fn pen() -> Pen {
        let mut pen = Pen::default();
        for (id, name) in [(A, "a"), (B, "b"), (C, "c")] {
            pen.arrive(id, name.into(), true);
        }
        pen.arrive(GUEST, "guest".into(), false);
        pen
    }

    fn asked(user: &str) -> Notice {
        Notice::Asked { user: user.into() }
    }

    #[test]
    fn it_is_asked_for_taken_and_given() {
        let mut pen = pen();
        assert_eq!((pen.role(A), pen.role(B)), (Role::Writer, Role::Watcher));
        assert_eq!(pen.command(B, Command::Ask), Some((A, asked("b"))));
        assert_eq!(pen.command(C, Command::Ask), Some((A, asked("c"))));
        assert_eq!(pen.command(B, Command::Ask), Some((A, asked("b"))), "reminded, and no place lost");
        assert_eq!(pen.command(C, Command::Give), None);
        assert!(pen.may_type(A), "who does not hold it cannot give it");
        pen.command(A, Command::Give);
        assert!(pen.may_type(B));
        pen.command(A, Command::Take);
        assert!(pen.may_type(A));
        pen.leave(A);
        assert!(pen.may_type(C), "it asked");
        pen.command(C, Command::Give);
        assert!(!pen.may_type(C) && !pen.may_type(B), "nobody has it");
        assert!(!pen.type_as(GUEST));
        assert!(pen.type_as(B) && pen.may_type(B));
        pen.leave(B);
        assert!(pen.may_type(C), "the only one left");
    }

    #[test]
    fn a_guest_watches_for_ever() {
        let mut pen = Pen::default();
        pen.arrive(GUEST, "guest".into(), false);
        for command in [Command::Ask, Command::Take, Command::Give] {
            assert_eq!(pen.command(GUEST, command), None);
            assert!(!pen.may_type(GUEST) && !pen.type_as(GUEST));
        }
        pen.arrive(A, "a".into(), true);
        assert!(pen.may_type(A));
        pen.leave(A);
        assert_eq!(pen.role(GUEST), Role::Watcher);
    }

    #[test]
    fn everybody_is_told_once() {
        let mut pen = pen();
        let roles = |pen: &mut Pen| -> Vec<_> { pen.news().into_iter().map(|(id, _)| id).collect() };
        assert_eq!(roles(&mut pen), [A, B, C, GUEST]);
        assert!(pen.news().is_empty());
        pen.command(B, Command::Ask);
        assert!(pen.news().is_empty());
        pen.command(B, Command::Take);
        let writer = Some("b".into());
        assert_eq!(
            pen.news()[..2],
            [
                (A, Notice::Role { role: Role::Watcher, writer: writer.clone() }),
                (B, Notice::Role { role: Role::Writer, writer }),
            ]
        );
    }
}
