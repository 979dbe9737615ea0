# A guest without an operating system, for monitors that boot an ELF64 in long mode (Linux's 64-bit boot protocol:
# Documentation/arch/x86/boot.rst of the kernel). It speaks over the first serial port (0x3f8) and needs no interrupt, no stack beyond its own,
# and nothing of the processor but integers, so that it runs where no stock kernel does.
#
#   hello from bare metal      said once, when it runs
#   {line}                     each line that it is sent comes back, behind its number: `3 {line}`. The number is in the guest's memory
#   reset                      is a line as any other, and resets the machine through the i8042, which ends the monitor
#   {number} key               said when a key is pressed, as the monitor does for Ctrl, Alt and Del, and then it resets the machine

        .set    PORT, 0x3f8             # data
        .set    STATUS, PORT + 5        # line status: bit 0 a byte has come, bit 5 one can be sent
        .set    I8042, 0x64
        .set    PULSE_RESET, 0xfe
        .set    LONGEST, 64

        .section .text
        .globl  start
start:
        cli
        cld
        lea     stack_top(%rip), %rsp
        lea     greeting(%rip), %rsi
        mov     $greeting_end - greeting, %ecx
        call    say

next_line:
        lea     line(%rip), %rdi
        xor     %ebx, %ebx              # its length
next_byte:
        in      $I8042, %al
        test    $1, %al                 # a key has come
        jnz     key
        mov     $STATUS, %dx
        in      %dx, %al
        test    $1, %al
        jnz     1f
        pause
        jmp     next_byte
1:      mov     $PORT, %dx
        in      %dx, %al
        cmp     $'\n', %al
        je      whole
        cmp     $LONGEST, %ebx
        jae     next_byte               # what is too long is cut
        mov     %al, (%rdi,%rbx)
        inc     %ebx
        jmp     next_byte

whole:
        incl    number(%rip)
        mov     number(%rip), %eax
        call    say_number
        lea     space(%rip), %rsi
        mov     $1, %ecx
        call    say
        lea     line(%rip), %rsi
        mov     %ebx, %ecx
        call    say
        lea     newline(%rip), %rsi
        mov     $1, %ecx
        call    say
        cmp     $5, %ebx
        jne     next_line
        lea     line(%rip), %rsi
        lea     word_reset(%rip), %rdi
        mov     $5, %ecx
        repe    cmpsb
        jne     next_line
reset:  mov     $PULSE_RESET, %al
        out     %al, $I8042
1:      hlt
        jmp     1b

key:    incl    number(%rip)
        mov     number(%rip), %eax
        call    say_number
        lea     word_key(%rip), %rsi
        mov     $word_key_end - word_key, %ecx
        call    say
        jmp     reset

# Says %ecx bytes from %rsi.
say:
        test    %ecx, %ecx
        jz      2f
1:      mov     $STATUS, %dx
        in      %dx, %al
        test    $0x20, %al
        jz      1b
        mov     (%rsi), %al
        mov     $PORT, %dx
        out     %al, %dx
        inc     %rsi
        dec     %ecx
        jnz     1b
2:      ret

# Says %eax in decimal.
say_number:
        lea     digits_end(%rip), %rsi
        mov     $10, %edi
        xor     %ecx, %ecx
1:      xor     %edx, %edx
        div     %edi
        add     $'0', %dl
        dec     %rsi
        mov     %dl, (%rsi)
        inc     %ecx
        test    %eax, %eax
        jnz     1b
        jmp     say

        .section .rodata
greeting:
        .ascii  "hello from bare metal\n"
greeting_end:
space:  .ascii  " "
newline:
        .ascii  "\n"
word_reset:
        .ascii  "reset"

word_key:
        .ascii  " key\n"
word_key_end:

        .section .bss
number: .skip   4
line:   .skip   LONGEST
digits: .skip   10
digits_end:
        .balign 16
        .skip   4096
stack_top:
