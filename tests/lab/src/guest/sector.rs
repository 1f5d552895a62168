//! The guests' whole software: one boot sector that beats.

use crate::beat::MAX_GUEST;

/// Bytes of a boot sector.
pub const SECTOR_LEN: usize = 512;
/// Ticks of the programmable interval timer's clock between two beats: 1 193 182 Hz / 11 932 is 99.998 Hz.
const PIT_DIVISOR: u16 = 11_932;
/// Where the BIOS puts a boot sector, and where its stack may begin.
const ORIGIN: u16 = 0x7c00;

/// The boot sector of one guest, in real mode from the first byte to the last.
///
/// It sets timer 0 to 100 Hz and masks every other interrupt, then halts; each tick counts one up and sends the
/// beat of [`crate::beat`] to COM1, so the guest sleeps in between. The count is kept in a register alone: a
/// restart forgets it, a pause or a migration does not.
///
/// # Panics
/// When `guest` is not in 1..=127: its number must fit a beat.
#[must_use]
pub fn boot_sector(guest: u8) -> [u8; SECTOR_LEN] {
    assert!((1..=MAX_GUEST).contains(&guest), "a guest's number is in 1..={MAX_GUEST}");
    let mut code = Code::default();
    let (mut handler, mut send) = (Label::default(), Label::default());

    // Known segments and a stack below the code. The BIOS may come with cs:ip as 07c0:0000 or 0000:7c00.
    code.put(&[0xfa]); //                     cli
    let entry = ORIGIN + 6;
    code.put(&[0xea]).word(entry).word(0); // jmp 0:entry
    code.put(&[0x31, 0xc0]); //               xor ax, ax
    code.put(&[0x8e, 0xd8]); //               mov ds, ax
    code.put(&[0x8e, 0xd0]); //               mov ss, ax
    code.put(&[0xbc]).word(ORIGIN); //        mov sp, 0x7c00

    // The timer's interrupt, vector 8 as the BIOS has it.
    code.put(&[0xc7, 0x06]).word(8 * 4); //   mov word [0x20], handler
    code.address_of(&mut handler);
    code.put(&[0xa3]).word(8 * 4 + 2); //     mov [0x22], ax

    // The count of beats.
    code.put(&[0x66, 0x31, 0xf6]); //         xor esi, esi

    // COM1 by polling: no interrupts, 115 200 baud, 8N1, FIFO off.
    for (port, value) in
        [(0x3f9, 0x00), (0x3fb, 0x80), (0x3f8, 0x01), (0x3f9, 0x00), (0x3fb, 0x03), (0x3fa, 0x00)]
    {
        code.put(&[0xba]).word(port); //      mov dx, port
        code.put(&[0xb0, value]); //          mov al, value
        code.put(&[0xee]); //                 out dx, al
    }

    // Timer 0: rate generator (mode 2), low byte then high byte.
    let [low, high] = PIT_DIVISOR.to_le_bytes();
    for (port, value) in [(0x43, 0x34), (0x40, low), (0x40, high)] {
        code.put(&[0xb0, value]); //          mov al, value
        code.put(&[0xe6, port]); //           out port, al
    }
    // Interrupt controllers: the timer alone.
    for (port, value) in [(0x21, 0xfe), (0xa1, 0xff)] {
        code.put(&[0xb0, value]); //          mov al, value
        code.put(&[0xe6, port]); //           out port, al
    }
    code.put(&[0xfb]); //                     sti
    code.put(&[0xf4]); //              sleep: hlt
    code.put(&[0xeb, 0xfd]); //               jmp sleep

    // One beat. The loop above keeps nothing in registers, so none is saved.
    code.place(&mut handler);
    code.put(&[0x66, 0x46]); //      handler: inc esi
    code.put(&[0xb0, 0x80 | guest]); //       mov al, 0x80 | guest
    code.put(&[0xe8]).offset_to(&mut send); //call send
    code.put(&[0xb1, 21]); //                 mov cl, 21
    let digit = code.here();
    code.put(&[0x66, 0x89, 0xf0]); //  digit: mov eax, esi
    code.put(&[0x66, 0xd3, 0xe8]); //         shr eax, cl
    code.put(&[0x24, 0x7f]); //               and al, 0x7f
    code.put(&[0xe8]).offset_to(&mut send); //call send
    code.put(&[0x80, 0xe9, 7]); //            sub cl, 7
    code.put(&[0x79]).back_to(digit); //      jns digit
    code.put(&[0xb0, 0x20, 0xe6, 0x20]); //   mov al, 0x20; out 0x20, al: end of interrupt
    code.put(&[0xcf]); //                     iret

    // Sends al when the transmitter is empty (line status bit 5).
    code.place(&mut send);
    code.put(&[0x88, 0xc4]); //         send: mov ah, al
    code.put(&[0xba]).word(0x3fd); //         mov dx, 0x3fd
    let wait = code.here();
    code.put(&[0xec]); //               wait: in al, dx
    code.put(&[0xa8, 0x20]); //               test al, 0x20
    code.put(&[0x74]).back_to(wait); //       jz wait
    code.put(&[0xba]).word(0x3f8); //         mov dx, 0x3f8
    code.put(&[0x88, 0xe0]); //               mov al, ah
    code.put(&[0xee]); //                     out dx, al
    code.put(&[0xc3]); //                     ret

    let mut sector = [0; SECTOR_LEN];
    sector[..code.bytes.len()].copy_from_slice(&code.bytes);
    sector[SECTOR_LEN - 2..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

/// A place in the code that may be named before it is known.
#[derive(Debug, Default)]
struct Label {
    absolute: Vec<usize>,
    relative: Vec<usize>,
}

/// Machine code as it grows.
#[derive(Debug, Default)]
struct Code {
    bytes: Vec<u8>,
}

impl Code {
    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn word(&mut self, value: u16) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    fn here(&self) -> usize {
        self.bytes.len()
    }

    /// The label's address, as a word.
    fn address_of(&mut self, label: &mut Label) {
        label.absolute.push(self.here());
        self.word(0);
    }

    /// The distance to the label from the end of this word, as calls have it.
    fn offset_to(&mut self, label: &mut Label) {
        label.relative.push(self.here());
        self.word(0);
    }

    /// The distance back to a place from the end of this byte, as short jumps have it.
    fn back_to(&mut self, place: usize) {
        let distance = self.here() + 1 - place;
        self.bytes.push((256 - distance).to_le_bytes()[0]);
    }

    /// Puts the label here, in all the words that name it.
    fn place(&mut self, label: &mut Label) {
        let here = u16::try_from(self.here()).expect("a sector is shorter than a segment");
        for at in label.absolute.drain(..) {
            self.bytes[at..at + 2].copy_from_slice(&(ORIGIN + here).to_le_bytes());
        }
        for at in label.relative.drain(..) {
            let end = u16::try_from(at + 2).expect("a sector is shorter than a segment");
            self.bytes[at..at + 2].copy_from_slice(&(here - end).to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bios_will_boot_it_and_the_code_fits() {
        let sector = boot_sector(1);
        assert_eq!(sector[510..], [0x55, 0xaa]);
        // A partition table begins at 446: nothing of ours is there.
        assert!(sector[200..510].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn guests_differ_in_their_number_alone() {
        let (one, two) = (boot_sector(1), boot_sector(127));
        let differing: Vec<_> = (0..SECTOR_LEN).filter(|at| one[*at] != two[*at]).collect();
        assert_eq!(differing.len(), 1);
        assert_eq!((one[differing[0]], two[differing[0]]), (0x81, 0xff));
    }

    #[test]
    fn calls_and_jumps_arrive_at_instructions() {
        let sector = boot_sector(1);
        // The interrupt's address in `mov word [0x20], handler`, after its opcode.
        let set = sector.windows(4).position(|bytes| bytes == [0xc7, 0x06, 0x20, 0x00]).unwrap() + 4;
        let handler = u16::from_le_bytes([sector[set], sector[set + 1]]) - ORIGIN;
        assert_eq!(sector[usize::from(handler)..][..2], [0x66, 0x46], "the handler begins with inc esi");
        // The first call in it reaches `mov ah, al`.
        let call = usize::from(handler) + 4;
        assert_eq!(sector[call], 0xe8);
        let distance = u16::from_le_bytes([sector[call + 1], sector[call + 2]]);
        assert_eq!(sector[call + 3 + usize::from(distance)..][..2], [0x88, 0xc4]);
    }
}
