"""What the process and its machine give: values made anew after a fork, memory, cores, torch."""
