/* Replaces uname(2) of the C library (through /etc/ld.so.preload): the machine is MACHINE, all else
   as the kernel has it. This is how a 32-bit system sees a 64-bit kernel. */

struct names { char system[65], node[65], release[65], version[65], machine[65], domain[65]; };

long syscall(long number, ...);

int uname(struct names *names)
{
    static const char machine[] = MACHINE;
    int failed = syscall(122, names); /* __NR_uname of 32-bit ARM */
    if (!failed)
        for (unsigned i = 0; i < sizeof machine; i++)
            names->machine[i] = machine[i];
    return failed;
}
